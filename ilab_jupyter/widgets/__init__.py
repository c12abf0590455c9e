"""The live view of a job in a notebook. A terminal gets none, and nothing of Jupyter is imported there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def register(ip: InteractiveShell) -> None:
    """Show JobHandle live in this kernel. Without a kernel, or when called again, nothing is done."""
    if getattr(ip, "kernel", None) is not None:
        from ilab_jupyter.widgets.display import install

        install(ip)


def unregister(ip: InteractiveShell) -> None:
    """JobHandle is shown as static HTML again; views that are open stay."""
    if getattr(ip, "kernel", None) is not None:
        from ilab_jupyter.widgets.display import remove

        remove(ip)
