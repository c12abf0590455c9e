"""SDK: what this machine can do."""

from __future__ import annotations

import os

from ilab_jupyter import hardware, paths
from ilab_jupyter.core.calling import defaultmethod


class System:
    """The machine that jobs run on. `folder` is on the disk to report, the one of the jobs' state where None.

    `info` can be called on the class as well.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = paths.state_dir() if folder is None else paths.given(folder)

    def __repr__(self) -> str:
        return f"System({str(self.folder)!r})"

    @defaultmethod
    def info(self) -> hardware.Inventory:
        """Processors, memory (bytes), disk, GPUs and libraries, typed; and the same by category, in words.

        No torch is needed. A category that cannot be read has the reason and does not affect the others.
        """
        return hardware.take_inventory(self.folder)
