"""SDK: what this machine can do."""

from __future__ import annotations

from ilab_jupyter import hardware, paths


class System:
    """Facts about the machine that jobs run on."""

    @staticmethod
    def info() -> hardware.Inventory:
        """Processors, memory (bytes), disk, GPUs and libraries, typed; and the same by category, in words.

        No torch is needed. A category that cannot be read says why and stops no other.
        """
        return hardware.take_inventory(paths.state_dir())
