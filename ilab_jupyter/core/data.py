"""SDK: synthetic data from a taxonomy."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter import durable, engine, hardware, paths
from ilab_jupyter.core.taxonomy import Taxonomy, taxonomy_root
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, is_disk_full, wrong_field
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.synthesis.settings import Settings, TeacherSettings

_LIBRARIES = ("instructlab-sdg", "instructlab-schema", "datasets", "docling", "openai", "pandas")
_ROLES = ("skills_train_msgs", "knowledge_train_msgs", "messages", "train", "test")


class GenerateResult(BaseModel):
    """A finished dataset. `files` maps a role to its JSONL file: skills, knowledge, messages, train, test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Folder name, which is the dataset's name.")
    path: str
    files: dict[str, str]
    rows: int = Field(description="Generated rows, before mixing.")
    rows_per_leaf: dict[str, int]
    rows_per_file: dict[str, int] = Field(
        description="By role. Mixing draws 30 rows a skill leaf, with repetition."
    )
    distinct_per_file: dict[str, int] = Field(description="By role: different pairs of question and answer.")
    rejected: dict[str, int] = Field(description="Answers that gave no row, by reason.")
    teacher: dict[str, Any]


class Data:
    """A taxonomy, a teacher and a pipeline. The arguments are those of the `generate` job.

    `teacher` is None or 'embedded', an address, or the fields of `TeacherSettings`.
    """

    def __init__(
        self,
        taxonomy_path: str | os.PathLike[str] | None = None,
        taxonomy_base: str = "empty",
        teacher: TeacherSettings | Mapping[str, Any] | str | None = None,
        pipeline: str = "simple",
        scale: int = 30,
        output_dir: str | os.PathLike[str] | None = None,
        **more: Any,
    ) -> None:
        self.settings = _checked(
            {
                "taxonomy_path": os.fspath(taxonomy_path or paths.taxonomy_dir()),
                "taxonomy_base": taxonomy_base,
                "teacher": teacher,
                "pipeline": pipeline,
                "scale": scale,
                "output_dir": None if output_dir is None else os.fspath(output_dir),
                **more,
            }
        )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Data:
        """From the fields of a `generate` spec."""
        return cls(**spec)

    def generate_data(
        self,
        client: Any = None,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        resume: bool = False,
        reporter: Reporter | None = None,
    ) -> GenerateResult:
        """Generate a dataset and return where it lies.

        `client` is an openai client, or anything with its `completions.create`, in place of the teacher; it
        needs `teacher={'kind': 'openai', 'url': ..., 'model': ...}` only where the model's name cannot be
        listed. `run_dir` keeps what is done; with `resume` it is taken up, and no answer that it holds is
        asked for again.

        The taxonomy is checked before anything heavy is loaded. Unprocessable for a wrong taxonomy or no rows
        at all, TeacherError, Conflict where the dataset's name is taken, Stopped when the reporter asks to
        stop.
        """
        reporter = reporter or ConsoleReporter()
        settings = self.settings
        reporter.phase("validating", settings.taxonomy_path)
        files = Taxonomy.check(settings.taxonomy_path, settings.taxonomy_base)
        root = taxonomy_root(settings.taxonomy_path)

        engine.require("Generation", "instructlab.sdg", "datasets", "openai")
        from ilab_jupyter.synthesis import run

        run.check_pipeline(settings.pipeline)
        inputs = run.inputs_hash(settings, root, files)
        folder = Path(run_dir).absolute() if run_dir else paths.state_dir() / "generate" / inputs[:16]
        plan = _plan(folder, inputs, resume)
        if plan["published"] and (Path(plan["published"]) / "ilab-lineage.json").is_file():
            return _result(Path(plan["published"]), plan["suffix"])
        _target(settings, plan["started"])

        reporter.phase("preparing", f"{len(files)} {'leaf' if len(files) == 1 else 'leaves'}")
        teacher = _teacher(settings, client)
        try:
            work = run.Run(settings, teacher, folder, plan["suffix"], reporter)
            tally = work.work(root, files)
            # looked for again: another run may have taken the name meanwhile
            target = _target(settings, plan["started"])
            reporter.phase("saving", str(target))
            lineage = {
                "created_at": datetime.now().astimezone().isoformat(timespec="seconds"),
                "teacher": teacher.describe(),
                "pipeline": settings.pipeline,
                "taxonomy_hash": run.taxonomy_hash(root, files),
                "leaves": files,
                "spec": settings.model_dump(mode="json"),
                "seed": settings.seed,
                "libraries": hardware.versions(_LIBRARIES),
                "rows": sum(tally.rows_per_leaf.values()),
                "rows_per_leaf": tally.rows_per_leaf,
                "rejected": tally.rejected,
                "extractive": bool(teacher.describe().get("extractive")),
            }
            _keep(folder, {**plan, "published": str(target)})
            run.publish(work.build, target, lineage, plan["suffix"])
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise Unavailable(
                f"There is no space left for {folder}.", "Free some and resume; nothing answered is lost."
            ) from error
        finally:
            teacher.close()
        result = _result(target, plan["suffix"])
        _clean(folder, "answers.jsonl")
        reporter.artifact("dataset", result.dataset, target)
        return result


def _checked(fields: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "See the arguments of Data.") from None


def _plan(folder: Path, inputs: str, resume: bool) -> dict[str, Any]:
    """What is known of the run in `folder`: taken up where its inputs are still the same, made anew
    otherwise.
    """
    if resume:
        with contextlib.suppress(OSError, ValueError, KeyError):
            plan: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if plan["inputs"] == inputs:
                return plan
    # the answers stay with resume: each is kept under its own prompt, and what has changed asks other prompts
    _clean(folder, *(() if resume else ("answers.jsonl",)))
    now = datetime.now().replace(microsecond=0)
    plan = {
        "inputs": inputs,
        "started": now.strftime("%Y-%m-%d_%H%M%S"),
        "suffix": now.isoformat().replace(":", "_"),
        "published": None,
    }
    _keep(folder, plan)
    return plan


def _target(settings: Settings, started: str) -> Path:
    """The folder to be made: the name that was asked for, or the first free one of this second."""
    output = settings.output_dir
    datasets = Path(output).expanduser().absolute() if output else paths.datasets_dir()
    # before the teacher is asked: its answers may have cost hours
    try:
        datasets.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=datasets).close()
    except OSError as error:
        raise Unavailable(
            f"No dataset can be written into {datasets}: {error.strerror}.",
            "Make it a folder that you may write to, with space on its disk, or choose another `output_dir`.",
        ) from None
    if settings.name is not None:
        target = datasets / settings.name
        if target.exists():
            raise Conflict(
                f"A dataset named {target.name} exists already.", "Choose another name, or remove it."
            )
        return target
    names = itertools.chain([started], (f"{started}-{number}" for number in itertools.count(2)))
    return next(datasets / name for name in names if not (datasets / name).exists())


def _keep(folder: Path, plan: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.write_durably(folder / "run.json", json.dumps(plan).encode(), mode=0o666)
    except OSError as error:
        raise Unavailable(
            f"The run's folder {folder} cannot be written: {error.strerror}.", "Free or choose a disk."
        ) from error


def _clean(folder: Path, *files: str) -> None:
    """Remove what a run leaves behind, and nothing else that may lie in a folder of the user's choice."""
    for name in ("leaves", "inputs", "build", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in files:
        (folder / name).unlink(missing_ok=True)


def _teacher(settings: Settings, client: Any) -> Any:
    from ilab_jupyter.synthesis import teachers

    if client is None:
        return teachers.make(settings.teacher, settings.num_workers)
    from ilab_jupyter.synthesis.teachers import remote

    asked = settings.teacher
    model = asked.model or remote.first_model(client, "the given client", asked.max_retries)
    return remote.RemoteTeacher(
        client,
        model,
        num_workers=settings.num_workers,
        max_retries=asked.max_retries,
        chat=asked.endpoint == "chat",
    )


def _result(target: Path, suffix: str) -> GenerateResult:
    lineage = json.loads((target / "ilab-lineage.json").read_text(encoding="utf-8"))
    files, rows, distinct = {}, {}, {}
    for stem in _ROLES:
        path = target / f"{stem}_{suffix}.jsonl"
        if path.is_file():
            role = stem.removesuffix("_train_msgs")
            files[role] = str(path)
            rows[role], distinct[role] = _counted(path)
    return GenerateResult(
        dataset=target.name,
        path=str(target),
        files=files,
        rows=lineage["rows"],
        rows_per_leaf=lineage["rows_per_leaf"],
        rows_per_file=rows,
        distinct_per_file=distinct,
        rejected=lineage["rejected"],
        teacher=lineage["teacher"],
    )


def _counted(path: Path) -> tuple[int, int]:
    """(rows, different pairs of user and assistant turns)."""
    pairs = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            turns = {turn["role"]: turn["content"] for turn in row.get("messages", ())} or row
            pairs.append((turns.get("user"), turns.get("assistant")))
    return len(pairs), len(set(pairs))
