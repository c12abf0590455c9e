"""Loading, help and completion at the prompt."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.remote import RemoteJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.generate import GenerateSpec
from ilab_jupyter.kinds.serve import ServeSpec
from ilab_jupyter.kinds.train import TrainSpec
from ilab_jupyter.magics.help import COMMANDS


def complete(shell: InteractiveShell, line: str) -> list[str]:
    return shell.complete("", line, len(line))[1]


def test_loading_is_idempotent_and_unloading_removes_everything(shell: InteractiveShell) -> None:
    before = shell.magics_manager.registry["IlabMagics"]
    transformers = list(shell.input_transformers_cleanup)
    shell.run_line_magic("reload_ext", "ilab_jupyter")
    shell.run_line_magic("load_ext", "ilab_jupyter")
    assert shell.find_line_magic("ilab") and shell.find_cell_magic("ilab")
    assert len(shell.input_transformers_cleanup) == len(transformers)
    shell.run_line_magic("unload_ext", "ilab_jupyter")
    assert shell.find_line_magic("ilab") is None and shell.find_cell_magic("ilab") is None
    assert len(shell.input_transformers_cleanup) == len(transformers) - 1
    assert complete(shell, "%ilab tra") == []
    assert before is not None


def test_overview_lists_every_command(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("%ilab?", "%ilab", "%ilab --help"):
        shell.run_cell(line, store_history=False)
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown and text in shown for name, text in COMMANDS.items()), line


@pytest.mark.parametrize(
    ("command", "spec"), [("train", TrainSpec), ("generate", GenerateSpec), ("serve", ServeSpec)]
)
def test_help_describes_every_field_of_the_spec(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], command: str, spec: type
) -> None:
    shell.run_cell(f"%ilab {command}?", store_history=False)
    help = capsys.readouterr().out
    shell.run_cell(f"%ilab {command} --help", store_history=False)
    assert help == capsys.readouterr().out
    words = " ".join(help.split())
    for field in spec.model_fields.values():
        assert (field.description or "") in words
    assert "--wait" in words and "-o NAME" in words


def test_every_command_has_help(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        shell.run_cell(f"%ilab {command}?", store_history=False)
        assert f"usage: %ilab {command}" in capsys.readouterr().out


def test_completion_offers_commands_options_choices_and_names(
    shell: InteractiveShell, scripted_jobs: SyncJobs
) -> None:
    job = scripted_jobs.submit(JobSpec(kind="train", name="x", arguments={"max_steps": 1}))
    assert complete(shell, "%ilab tra") == ["train"]
    assert complete(shell, "%%ilab ge") == ["generate"]
    assert "--learning-rate" in complete(shell, "%ilab train --lea")
    assert complete(shell, "%ilab train --method ") == ["full", "lora"]
    assert complete(shell, "%ilab cancel trai") == [job.id]
    assert complete(shell, "%ilab serve st") == ["starter"]
    assert complete(shell, "%ilab train d.jsonl --model st") == ["starter"]
    assert complete(shell, "%ilab evaluate mmlu --base-model st") == ["starter"]
    assert complete(shell, "%ilab curate ded") == ["dedup"]


def test_completion_does_not_wait_for_silent_service(shell: InteractiveShell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        shell.magics_manager.registry["IlabMagics"].jobs = SyncJobs(
            RemoteJobs(f"http://127.0.0.1:{port}/ilab/api")
        )
        complete(shell, "%ilab tra")
        started = time.monotonic()
        assert complete(shell, "%ilab cancel qqq") == []
        complete(shell, "%ilab cancel qqqq")
        assert time.monotonic() - started < 0.3


def test_terminal_imports_no_heavy_library() -> None:
    script = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\nshell.run_line_magic('load_ext', 'ilab_jupyter')\n"
        "shell.run_cell('%ilab jobs')\n"
        "unwanted = ('ipywidgets', 'anywidget', 'matplotlib', 'numpy', 'torch', 'pandas')\n"
        "print([name for name in unwanted if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
