"""A wrong command shows a message and a hint without a traceback, and stops the cell."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.magics.failure import CommandError


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%ilab tarin", "There is no command 'tarin'."),
        ("%ilab train data.jsonl --epochs many", "`--epochs` must be a number such as 3, not 'many'."),
        (
            "%ilab train data.jsonl --learning-rate 7",
            "`--learning-rate` must be at most 1 (got 7).",
        ),
        ("%ilab train data.jsonl --method magic", "argument --method: invalid choice: 'magic'"),
        ("%ilab trian data.jsonl", "There is no command 'trian'. Did you mean `train`?"),
        ("%ilab train data.jsonl --epocs 1", "has no option `--epocs`. Did you mean `--epochs`?"),
        ("%ilab train data.jsonl --learning-rate fast", "must be a number such as 2e-5, not 'fast'."),
        ("%ilab train data.jsonl --epochs 0", "`--epochs` must be greater than 0 (got 0)."),
        ("%ilab chat m What milk? --temperature hot", "`--temperature` must be a number such as 0.7"),
        ("%ilab chat m What milk? --temprature 1", "Did you mean `--temperature`?"),
        ("%ilab remove model nosuch --yes", "There is no model 'nosuch'."),
        ("%ilab remove model starter --yes", "The model 'starter' is built in and cannot be removed."),
        ("%ilab remove dataset nosuch --yes", "There is no dataset 'nosuch'."),
        ("%ilab remove job nosuch --yes", "There is no job 'nosuch'."),
        ("%ilab train data.jsonl --bogus 1", "%ilab train has no option `--bogus`."),
        ("%ilab train missing.jsonl", "There is no data 'missing.jsonl'"),
        ("%ilab train", "There is no data to train on."),
        ("%ilab generate nowhere", "There is no taxonomy at"),
        ("%ilab generate taxonomy --teacher bert", "There is no teacher 'bert'."),
        ("%ilab generate taxonomy --api-key-env NOT_SET", "The environment variable NOT_SET is not set"),
        ("%ilab generate taxonomy --document x", "'x' is not URL=PATH."),
        ("%ilab serve", "%ilab serve needs a model."),
        ("%ilab ingest", "%ilab ingest needs a document."),
        ("%ilab evaluate", "%ilab evaluate needs a benchmark."),
        ("%ilab chat", "There is no question."),
        ("%ilab chat --temperature hot m Hello", "`--temperature` must be a number such as 0.7, not 'hot'."),
        ("%ilab cancel", "the following arguments are required: ID"),
        ("%ilab cancel nosuchjob", "There is no job 'nosuchjob'."),
        ("%ilab attach", "There are no jobs yet."),
        ("%ilab jobs --limit 0", "`--limit` must be a number from 1 to 500, not '0'."),
        ("%%ilab train\ndata: [data.jsonl]\nmax-length: 3", "There is no argument 'max-length'"),
        ("%ilab demo --output data.jsonl", "The demo cannot write to"),
        ("%ilab jobs 'open", "A quotation mark is not closed."),
        ("%ilab jobs -o 2x", "'2x' cannot be the name of a variable."),
        ("%%ilab jobs\nx", "%%ilab jobs takes no cell."),
        ("%%ilab train\ndata: [a\nb: }", "The cell is not YAML at line"),
        ("%%ilab train\njust words", "The cell is not a list of arguments."),
        ("%%ilab train\ndata: [data.jsonl]\nbatchsize: 3", "There is no argument 'batchsize'"),
    ],
)
def test_wrong_command_shows_one_sentence(
    shell: InteractiveShell,
    scripted_jobs: SyncJobs,
    capsys: pytest.CaptureFixture[str],
    cell: str,
    message: str,
) -> None:
    outcome = shell.run_cell(cell, store_history=False)
    shown = "".join(capsys.readouterr())
    assert not outcome.success
    assert isinstance(outcome.error_in_exec, CommandError) and isinstance(outcome.error_in_exec, UsageError)
    assert message in shown
    assert "Traceback" not in shown and ".py" not in shown
    assert scripted_jobs.list().jobs == []


def test_failure_during_wait_stops_the_cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = shell.run_cell(
        "%ilab train data.jsonl --name fails --max-steps 4 --wait\nafter = 1", store_history=False
    )
    shown = capsys.readouterr().out
    assert not outcome.success and "after" not in shell.user_ns
    assert "Row 7 has <b>no</b> answer." in shown and "Correct row 7." in shown
    assert "Traceback" not in shown


def test_unfinished_job_is_refused_as_data_or_model(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%ilab train data.jsonl --name slow --max-steps 300 -o job", store_history=False)
    job = shell.user_ns["job"]
    shell.run_cell("%ilab serve {job.id}", store_history=False)
    assert f"Job {job.id} has made no model: it is" in capsys.readouterr().out
    shell.run_cell("%ilab train {job.id}", store_history=False)
    assert "is a train job, not a generate job" in capsys.readouterr().out


def test_failure_of_python_wait_has_no_traceback(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("job = %ilab train data.jsonl --name fails --max-steps 4", store_history=False)
    outcome = shell.run_cell("job.wait()", store_history=False)
    shown = capsys.readouterr().out
    assert not outcome.success
    assert "Row 7" in shown and "Traceback" not in shown
