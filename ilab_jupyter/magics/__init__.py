"""`%ilab` and `%%ilab`: the job service in a notebook or terminal, with or without a Jupyter server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ilab_jupyter.magics.ilab import IlabMagics

MAGICS_CLASS = "IlabMagics"


def register(ip: InteractiveShell) -> IlabMagics:
    """Register the magics in this shell and return them; a second call returns the same object."""
    from ilab_jupyter.magics.completion import Completer
    from ilab_jupyter.magics.help import transform_help
    from ilab_jupyter.magics.ilab import IlabMagics

    found = ip.magics_manager.registry.get(MAGICS_CLASS)
    if isinstance(found, IlabMagics):
        return found
    magics = IlabMagics(shell=ip)
    ip.register_magics(magics)
    if transform_help not in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.append(transform_help)
    completer = Completer(magics)
    for key in ("%ilab", "%%ilab"):
        ip.set_hook("complete_command", completer, str_key=key)  # type: ignore[no-untyped-call]
    return magics


def unregister(ip: InteractiveShell) -> None:
    """Remove the magics from this shell; jobs keep running."""
    from ilab_jupyter.magics.help import transform_help

    manager = ip.magics_manager
    manager.registry.pop(MAGICS_CLASS, None)
    for kind in ("line", "cell"):
        manager.magics[kind].pop("ilab", None)
    if transform_help in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(transform_help)
    for key in ("%ilab", "%%ilab"):
        ip.strdispatchers["complete_command"].strs.pop(key, None)
