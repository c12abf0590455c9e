"""SDK: what this machine can do."""

from __future__ import annotations

from ilab_jupyter import hardware, paths


class System:
    """Facts about the machine that jobs run on."""

    @staticmethod
    def info() -> hardware.Machine:
        """Processors, memory, disk, GPUs and engine libraries; no torch needed, a missing part is told."""
        return hardware.look(paths.state_dir())
