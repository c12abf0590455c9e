"""The commands `%ilab config` and `%ilab taxonomy`."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter import paths
from ilab_jupyter.core import Config, Taxonomy
from ilab_jupyter.core.taxonomy import Diff, Findings, Tree
from ilab_jupyter.errors import PublicError
from ilab_jupyter.magics.failure import CommandError


def run(shell: InteractiveShell, cell: str) -> object:
    outcome = shell.run_cell(cell, store_history=False)
    outcome.raise_error()
    return outcome.result


def refused(shell: InteractiveShell, cell: str) -> PublicError:
    with pytest.raises(CommandError) as stopped:
        run(shell, cell)
    return stopped.value.error


def test_config_is_created_shown_and_changed(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`%ilab config init`" in str(refused(shell, "%ilab config"))
    made = run(shell, "%ilab config init")
    assert isinstance(made, Config) and made.reasons and paths.config_file().is_file()
    assert isinstance(run(shell, "%ilab config init"), Config), "a valid file is kept"
    capsys.readouterr()
    run(shell, "%ilab config set train.num_epochs 3")
    assert capsys.readouterr().out == "train.num_epochs: 3\n" and Config.get("train.num_epochs") == 3
    run(shell, "%ilab config show train.num_epochs")
    assert capsys.readouterr().out == "3\n"
    assert "num_epochs" in str(refused(shell, "%ilab config show train.num_epoch"))
    assert "for" in repr(run(shell, "%ilab config profiles"))


def test_taxonomy_is_created_shown_compared_and_validated(shell: InteractiveShell) -> None:
    created = run(shell, "%ilab taxonomy init mine")
    assert isinstance(created, Tree) and created.leaves
    leaf = Path("mine") / str(created.leaves[0].file)
    assert not run(shell, "%ilab taxonomy diff mine")
    leaf.write_text(leaf.read_text().replace("version: 3", "version: 99"))
    changed, wrong = run(shell, "%ilab taxonomy diff mine"), run(shell, "%ilab taxonomy validate mine")
    assert isinstance(changed, Diff) and changed == [created.leaves[0].file]
    assert isinstance(wrong, Findings) and "version is 99" in str(wrong)
    assert run(shell, "%ilab taxonomy diff mine --base empty") == Taxonomy.diff("mine", "empty")
    shown = run(shell, "%ilab taxonomy mine -o tree")
    assert isinstance(shown, Tree) and shell.user_ns["tree"] is shown and "1 error" in str(shown)


@pytest.mark.parametrize("wrong", ["config set a", "config show a b", "taxonomy a b", "taxonomy nowhere"])
def test_invalid_workspace_command_has_a_hint(shell: InteractiveShell, wrong: str) -> None:
    assert refused(shell, f"%ilab {wrong}").hint


def test_config_set_reads_values_as_yaml(shell: InteractiveShell) -> None:
    run(shell, "%ilab config init")
    for text, value in {
        "2024-13-45": "2024-13-45",
        "0b_": "0b_",
        "yes": "yes",
        "'*anchor'": "*anchor",
        "[" * 3000: "[" * 3000,
    }.items():
        run(shell, f"%ilab config set evaluate.branch {text}")
        assert Config.get("evaluate.branch") == value
    run(shell, "%ilab config set train.num_epochs 010")
    assert Config.get("train.num_epochs") == 10
