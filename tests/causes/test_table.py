"""One table of causes: every one that can end a job is in it, and what it says to run can be run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ilab_jupyter.client.handle import JobFailed
from ilab_jupyter.jobs import causes
from ilab_jupyter.jobs.causes import CAUSES, Cause, Retry
from ilab_jupyter.kinds.catalog import KINDS, job_spec
from ilab_jupyter.kinds.remedies import remedy
from ilab_jupyter.magics import parsers
from ilab_jupyter.magics.help import COMMANDS
from ilab_jupyter.magics.ilab import IlabMagics
from ilab_jupyter.magics.job_arguments import structure

ROOT = Path(__file__).parents[2]
# What runs in a job's own process, and the files of the engine that end jobs.
ROOMS = (
    "core",
    "curation",
    "evaluation",
    "models",
    "registry",
    "retrieval",
    "serving",
    "starter",
    "synthesis",
    "kinds",
    "training",
)
FILES = (
    *("durable.py", "engine.py", "errors.py", "hardware.py"),
    *(f"jobs/{name}.py" for name in ("local", "attempt/outcome", "attempt/supervisor", "queue/scheduler")),
)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "train": {
        "data": ["/data/my rows.jsonl", "run-1"],
        "name": "mine",
        "learning_rate": 3e-4,
        "max_steps": 7,
        "method": "lora",
        "lora_dropout": 0.1,
    },
    "generate": {
        "taxonomy_path": "/taxonomies/a b",
        "teacher": {"kind": "openai", "url": "http://127.0.0.1:1/v1", "model": "m", "timeout": 5},
        "documents": {"https://example.org/repository": "/documents/it's"},
        "system_prompt": "-be brief",
        "scale": 3,
    },
    "ingest": {"documents": ["/documents/a b"], "chunk_tokens": 200},
    "rag": {"input_dir": "/documents", "uri": "/store", "prune": True},
    "curate": {"operation": "leakage", "data": ["/data/my rows.jsonl"], "evaluation": ["run-1"]},
    "evaluate": {"benchmark": "mt_bench", "judge": {"url": "http://127.0.0.1:1/v1"}, "questions": 3},
    "model": {"operation": "upload", "model": "mine", "repository": "me/mine", "private": False},
    "serve": {"model": "mine", "port": 8080, "device": "cuda"},
}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (ROOT / "ilab_jupyter" / room).rglob("*.py")
    yield from (ROOT / "ilab_jupyter" / file for file in FILES)


def named(path: Path) -> Iterator[str]:
    """The causes that a file gives: `cause="..."`, `cause = "..."`, `_said("...", ...)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "cause":
            yield from strings(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id.lower() == "cause" for target in targets):
                yield from strings(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_said":
            yield from strings(node.args[0])


def strings(node: ast.expr) -> Iterator[str]:
    yield from (
        inner.value
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    )


def test_every_cause_in_code_is_in_table() -> None:
    found = {(name, path.name) for path in sources() for name in named(path)}
    assert len(found) > 60
    assert not {(name, file) for name, file in found if name not in CAUSES}


def row(cause: Cause) -> str:
    tried = "no"
    if cause.retry is not None:
        longest = f", at most {cause.retry.max_seconds:g} s"
        growing = f", then {cause.retry.factor:g} times as long each time{longest}"
        times = (
            "as often as needed" if cause.retry.max_retries is None else f"{cause.retry.max_retries} times"
        )
        tried = f"{times}: after {cause.retry.first_seconds:g} s{growing if cause.retry.factor > 1 else ''}"
    helps = "yes" if cause.resumable_helps else "no"
    return f"| `{cause.name}` | {cause.title} | {helps} | {tried} |"


def test_the_page_on_causes_is_the_table() -> None:
    page = (ROOT / "docs/causes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `.*$", page, re.MULTILINE) == [row(cause) for cause in CAUSES.values()]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("cause", sorted({*CAUSES, "moonshine"}))
def test_what_to_run_is_a_command_with_valid_arguments(cause: str, kind: str) -> None:
    example = shlex.split(KINDS[kind].examples[0])[1:]
    parsed = structure(KINDS[kind], vars(parsers.build_parser(kind).parse_intermixed_args(example)))
    del parsed["wait"], parsed["out"]
    spec = job_spec(kind, ARGUMENTS.get(kind) or parsed)
    command, *words = shlex.split(remedy(cause, kind, spec.arguments, f"{kind}-abcdefgh"))
    assert command in COMMANDS
    options = parsers.build_parser(command).read(words)
    if command == kind:
        assert options.pop("wait") is False and options.pop("out") is None
        again = job_spec(command, structure(KINDS[kind], options)).arguments
        fields = KINDS[kind].spec.model_fields
        complete = {name: again.get(name, fields[name].get_default()) for name in spec.arguments}
        changed = {name for name in spec.arguments if complete[name] != spec.arguments[name]}
        assert changed <= {"batch_size", "max_seq_length", "learning_rate", "name", "port", "device"} | (
            {"teacher"} if cause == "teacher_model_missing" else set()
        ) | ({"num_workers"} if cause == "out_of_memory" else set())


def test_smaller_trainings_are_suggested_until_nothing_can_be_reduced() -> None:
    arguments = job_spec("train", {"data": ["d"], "batch_size": 4, "max_seq_length": 64}).arguments
    assert remedy("gpu_out_of_memory", "train", arguments, "train-x").endswith(
        "--batch-size 2 --max-seq-length 32"
    )
    least = {**arguments, "batch_size": 1, "max_seq_length": 16}
    assert "--method lora" in remedy("gpu_out_of_memory", "train", least, "train-x")
    assert remedy("gpu_out_of_memory", "train", {**least, "method": "lora"}, "train-x") == "resume train-x"
    assert "--learning-rate 1e-05" in remedy("nan_loss", "train", {**arguments, "learning_rate": 1e-4}, "t")


def test_evaluation_out_of_memory_suggests_smaller_batch_then_cpu() -> None:
    asked = {"benchmark": "mmlu", "model": "mine", "data": "/mmlu", "tasks": ["law", "--x"], "batch_size": 4}
    arguments = job_spec("evaluate", asked).arguments
    assert remedy("gpu_out_of_memory", "evaluate", arguments, "evaluate-x") == (
        "evaluate mmlu mine --tasks law --tasks=--x --batch-size 2 --data /mmlu"
    )
    least = {**arguments, "batch_size": 1}
    assert "--device cpu" in remedy("gpu_out_of_memory", "evaluate", least, "evaluate-x")
    assert remedy("out_of_memory", "evaluate", least, "evaluate-x") == "resume evaluate-x"
    judged = {"benchmark": "mt_bench", "judge": {"model": "/models/a judge", "api_key_env": "JUDGE_API_KEY"}}
    assert remedy("judge_failed", "evaluate", job_spec("evaluate", judged).arguments, "evaluate-x") == (
        "evaluate mt_bench --judge-model '/models/a judge' --judge-api-key-env JUDGE_API_KEY"
    )


def test_a_retry_waits_longer_each_time_and_gives_up() -> None:
    policy = Retry(max_retries=4, first_seconds=2, factor=3, max_seconds=20)
    assert [policy.wait(retries) for retries in range(5)] == [2, 6, 18, 20, None]
    assert Retry(None, 5, 1, 5).wait(10**6) == 5 and Retry(None, 1, 2, 60).wait(10**6) == 60
    assert {name for name, cause in CAUSES.items() if cause.retry} == {"teacher_rate_limited", "preempted"}
    assert causes.retry("moonshine") is None and causes.retry(None) is None
    assert causes.resumes("moonshine") and not causes.resumes("nan_loss") and causes.resumes("disk_full")


# Running it.


@pytest.fixture
def shell(works: Any) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    magics = IlabMagics(shell)
    magics.jobs = works.jobs
    shell.register_magics(magics)
    yield shell
    InteractiveShell.clear_instance()


def test_remedy_of_failure_runs_unchanged(
    works: Any, shell: Any, tiny: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = pairs.read_text()
    pairs.write_text(good + "oops\n")
    failed = works.ended("train", model=str(tiny), data=[str(pairs)], name="mine", max_steps=1)
    told = JobFailed(failed)
    assert f"Next: %ilab train {pairs} --name mine --max-steps 1 --model {tiny}" in told.hint
    pairs.write_text(good)
    handle = shell.run_line_magic("ilab", failed.remedy)
    assert handle.wait(timeout=120).result["model"] == "mine"

    missing = works.ended("train", model="nobody", data=[str(pairs)])
    assert "starter" in str(shell.run_line_magic("ilab", missing.remedy).rows)
    crashed = works.end(works.code("print('the reason'); import os; os._exit(3)"))
    capsys.readouterr()
    shell.run_line_magic("ilab", crashed.remedy)
    assert "the reason" in capsys.readouterr().out
    killed = works.end(works.code("import os\nif context.attempt == 1: os.kill(os.getpid(), 9)"))
    shell.run_line_magic("ilab", killed.remedy)
    assert works.end(killed).state == "SUCCEEDED"
