"""Results on disk: one folder for each evaluation, with the result and the files it is based on."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from ilab_jupyter import durable, hardware, paths
from ilab_jupyter.errors import InvalidInput, NotFound, Unavailable, Unprocessable, wrong_field
from ilab_jupyter.evaluation.results import ANY, AnyResult

RESULT = "result.json"
MAX_BYTES = 500_000_000
LIBRARIES = ("ilab-jupyter", "instructlab-eval", "lm-eval", "ragas", "torch", "transformers")


def evaluations_dir() -> Path:
    """`evaluations/` below InstructLab's data folder."""
    return paths.data_dir() / "evaluations"


def new_folder(output_dir: Path | None, benchmark: str, model: str) -> Path:
    """Create an empty folder for one evaluation. Raises Unavailable if that fails."""
    root = (output_dir or evaluations_dir()).absolute()
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name)[:64] or "model"
    stem = f"{benchmark}-{label}-{datetime.now():%Y-%m-%d_%H%M%S}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name in itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2))):
            try:
                (root / name).mkdir()
            except FileExistsError:
                continue
            return root / name
    except OSError as error:
        raise Unavailable(
            f"No result can be written into {root}: {error.strerror}.", "Choose another `output_dir`."
        ) from None
    raise AssertionError("the numbers have no end")


def versions() -> dict[str, str | None]:
    """Return the versions of the libraries that a score depends on."""
    return hardware.versions(LIBRARIES)


def now() -> datetime:
    """Return the current local time with its time zone, to the second."""
    return datetime.now().astimezone().replace(microsecond=0)


def save(result: AnyResult) -> None:
    """Write the result into its folder atomically."""
    file = Path(result.path) / RESULT
    durable.write_durably(file, result.model_dump_json(indent=1).encode(), mode=0o666)


def load(path: Path) -> AnyResult:
    """Read a result from its file or folder.

    Raises NotFound if there is none, InvalidInput if it is too large, Unprocessable if it is not valid.
    """
    file = path / RESULT if paths.is_folder(path) else path
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError:
        raise NotFound(f"There is no result {str(path)[:200]!r}.", "Give the folder that it names.") from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput(f"{file.name} is too large for a result.", "Give the folder of an evaluation.")
    try:
        return ANY.validate_json(raw)
    except ValidationError as error:
        raise Unprocessable(
            f"{file.name} is no result: {wrong_field(error.errors()[0])}.",
            "Give the folder of an evaluation.",
        ) from None
