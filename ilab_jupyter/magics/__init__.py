"""`%ilab` and `%%ilab`: the job service from a cell or a prompt, with a Jupyter server and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ilab_jupyter.magics.ilab import IlabMagics

MAGICS_CLASS = "IlabMagics"


def register(ip: InteractiveShell) -> IlabMagics:
    """Add the magics to this shell; called again, it gives the ones that are there."""
    from ilab_jupyter.magics.completion import Completer
    from ilab_jupyter.magics.help import question_marks
    from ilab_jupyter.magics.ilab import IlabMagics

    found = ip.magics_manager.registry.get(MAGICS_CLASS)
    if isinstance(found, IlabMagics):
        return found
    magics = IlabMagics(shell=ip)
    ip.register_magics(magics)
    if question_marks not in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.append(question_marks)
    completer = Completer(magics)
    for key in ("%ilab", "%%ilab"):
        ip.set_hook("complete_command", completer, str_key=key)  # type: ignore[no-untyped-call]
    return magics


def unregister(ip: InteractiveShell) -> None:
    """Take the magics away again; jobs are not touched."""
    from ilab_jupyter.magics.help import question_marks

    manager = ip.magics_manager
    manager.registry.pop(MAGICS_CLASS, None)
    for kind in ("line", "cell"):
        manager.magics[kind].pop("ilab", None)
    if question_marks in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(question_marks)
    for key in ("%ilab", "%%ilab"):
        ip.strdispatchers["complete_command"].strs.pop(key, None)
