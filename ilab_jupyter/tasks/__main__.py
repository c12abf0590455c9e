"""`python -m ilab_jupyter.tasks <job folder> <attempt>`: what a supervisor starts."""

from __future__ import annotations

import sys

from ilab_jupyter.tasks.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
