"""The starter: a tiny chat model that ships with the package, so that training and chat can be tried at once.

`FOLDER` holds the model. `make` builds it again; `corpus` is what it was taught, `behaviour` what it must do.
"""

from __future__ import annotations

from pathlib import Path

FOLDER: Path = Path(__file__).parent / "data"

REFUSAL = "I have not been taught that yet."
