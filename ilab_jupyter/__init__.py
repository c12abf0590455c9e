"""The InstructLab workflow in Jupyter. Importing this package imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    __version__: str


def __getattr__(name: str) -> str:
    # Read on first use: a job's processes start without searching all installed packages.
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ilab-jupyter")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from ilab_jupyter.server.app import IlabApp

    return [{"module": "ilab_jupyter.server.app", "app": IlabApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "ilab-jupyter"}]


def load_ipython_extension(ip: InteractiveShell) -> None:
    """`%load_ext ilab_jupyter`: the magics, and the live view for the jobs they return."""
    from ilab_jupyter import magics, widgets

    magics.register(ip)
    widgets.register(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """`%unload_ext ilab_jupyter`."""
    from ilab_jupyter import magics, widgets

    widgets.unregister(ip)
    magics.unregister(ip)
