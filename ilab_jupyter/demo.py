"""The main job on the embedded default: generate, train, serve, ask before and after."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilab_jupyter.client import curve
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.inference import stream_chat
from ilab_jupyter.errors import NotFound, Unavailable, Unprocessable
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.jobs.sync import run as run_blocking
from ilab_jupyter.kinds.catalog import job_spec

ASKED = 12
SCALE = 3
BASE = "starter"


@dataclass(frozen=True)
class Question:
    """A user turn and the answer that the data teaches."""

    text: str
    expected: str


@dataclass(frozen=True)
class Answer:
    """What both models said."""

    question: Question
    base: str
    tuned: str

    @property
    def base_correct(self) -> bool:
        return same(self.base, self.question.expected)

    @property
    def tuned_correct(self) -> bool:
        return same(self.tuned, self.question.expected)


def same(answer: str, expected: str) -> bool:
    """Equal but for white space, case and the final full stop."""

    def plain(text: str) -> str:
        return " ".join(text.lower().split()).rstrip(".")

    return plain(answer) == plain(expected)


def sample_notebooks() -> Path:
    """The tutorials with their taxonomy: inside an installed package, or beside it in a source tree."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / "taxonomy").is_dir():
            return folder
    raise NotFound("The sample taxonomy is not installed.", "Install ilab-jupyter again.")


def run(jobs: SyncJobs, *, output: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the main job, write `output` and give the figures that its last line shows."""
    started = time.monotonic()
    samples = sample_notebooks()
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)

    generated = _job(jobs, say, "generate", taxonomy_path=str(samples / "taxonomy"), scale=SCALE)
    dataset = str(generated.result["dataset"])
    trained = _job(jobs, say, "train", model=BASE, data=[dataset])
    model = str(trained.result["model"])

    say("serve: the model before and after, side by side")
    servers = [_submit(jobs, "serve", model=BASE), _submit(jobs, "serve", model=model)]
    try:
        for server in servers:
            server.wait(until=lambda event: event.type == "endpoint")
        seen = _ask(jobs, model, _taught([Path(name) for name in trained.result["files"]]))
        unseen = _ask(jobs, model, _read(samples / "paraphrases.jsonl"))
    finally:
        for server in servers:
            server.cancel()
    seconds = time.monotonic() - started

    with _writing(output):
        _keep(output, trained, Path(generated.result["path"]), Path(trained.result["path"]), seen, unseen)
    for server in servers:
        server.wait()
    _show(say, seen)
    return {
        "generated_rows": int(generated.result["rows"]),
        "train_steps": int(trained.result["steps"]),
        "questions": len(seen),
        "base_correct": sum(answer.base_correct for answer in seen),
        "tuned_correct": sum(answer.tuned_correct for answer in seen),
        "unseen_questions": len(unseen),
        "unseen_correct": sum(answer.tuned_correct for answer in unseen),
        "teacher": "embedded (extractive, no language model)",
        "model": model,
        "dataset": dataset,
        "seconds": round(seconds, 1),
    }


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The demo cannot write to {output}: {error.strerror or error}.",
            "Choose another folder with --output, or free space there.",
        ) from None


def _submit(jobs: SyncJobs, kind: str, **arguments: Any) -> JobHandle:
    return JobHandle(jobs, jobs.submit(job_spec(kind, arguments, name=f"demo: {kind}")).id)


def _job(jobs: SyncJobs, say: Callable[[str], None], kind: str, **arguments: Any) -> JobHandle:
    """Run one job to its end; a failure is raised as the PublicError that the job ended with."""
    handle = _submit(jobs, kind, **arguments)
    say(f"{kind}: job {handle.id}")
    began = time.monotonic()
    handle.wait()
    say(f"{kind}: {handle.state.value.lower()} in {time.monotonic() - began:.1f} s")
    return handle


def _read(path: Path) -> list[Question]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Question(row["question"], row["answer"]) for row in rows]


def _taught(files: list[Path]) -> list[Question]:
    """Different questions of the training set, taken evenly from its beginning to its end."""
    taught: dict[str, Question] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            turns = {message["role"]: message["content"] for message in json.loads(line)["messages"]}
            question = Question(turns.get("user", ""), turns.get("assistant", ""))
            taught.setdefault(question.text, question)
    if len(taught) < ASKED:
        raise Unprocessable(f"The dataset holds only {len(taught)} different questions, {ASKED} are needed.")
    every = list(taught.values())
    return [every[n * len(every) // ASKED] for n in range(ASKED)]


def _ask(jobs: SyncJobs, tuned: str, questions: list[Question]) -> list[Answer]:
    return [
        Answer(question, base=_answer(jobs, BASE, question.text), tuned=_answer(jobs, tuned, question.text))
        for question in questions
    ]


def _answer(jobs: SyncJobs, model: str, text: str) -> str:
    async def whole(pieces: AsyncIterator[str]) -> str:
        return "".join([piece async for piece in pieces])

    messages = [{"role": "user", "content": text}]
    return run_blocking(whole(stream_chat(jobs.service, model, messages, temperature=0.0))).strip()


def _keep(
    output: Path, trained: JobHandle, dataset: Path, model: Path, seen: list[Answer], unseen: list[Answer]
) -> None:
    """Loss curve, side-by-side answers, dataset and model below `output`, instead of an earlier run's."""
    (output / "loss.png").write_bytes(curve.png(curve.points(trained.history())))
    for name, folder in {"dataset": dataset, "model": model}.items():
        shutil.rmtree(output / name, ignore_errors=True)
        shutil.copytree(folder, output / name)
    lines = ["# The same questions before and after training", ""]
    for title, answers in {
        "Questions of the training set": seen,
        "Paraphrases that it was not trained on": unseen,
    }.items():
        lines += [
            f"## {title}",
            "",
            "| question | expected | before | after | |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            "| "
            + " | ".join(_cell(part) for part in (a.question.text, a.question.expected, a.base, a.tuned))
            + f" | {'✓' if a.tuned_correct else '✗'} |"
            for a in answers
        ]
        lines.append("")
    (output / "answers.md").write_text("\n".join(lines), encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _show(say: Callable[[str], None], answers: list[Answer]) -> None:
    for answer in answers[:3]:
        say(f"\n  Q: {_cell(answer.question.text)[:160]}")
        say(f"  before: {_cell(answer.base)}")
        say(f"  after:  {_cell(answer.tuned)}")
