"""SDK: synthetic data from a taxonomy."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter import durable, engine, hardware, paths
from ilab_jupyter.configuration.arguments import DATA
from ilab_jupyter.core.config import Config
from ilab_jupyter.core.curation import Curation
from ilab_jupyter.core.taxonomy import Taxonomy, taxonomy_root
from ilab_jupyter.display import Shown, html, table
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unavailable, is_disk_full, wrong_field
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.retrieval.results import IngestResult
from ilab_jupyter.synthesis.settings import Settings, TeacherSettings
from ilab_jupyter.taxonomy import qna

if TYPE_CHECKING:
    import pandas

# Files of a run in its folder besides run.json and its lock.
_LEFT = ("leaves", "inputs", "build", "cache")
_ANSWERS = "answers.jsonl"
_LIBRARIES = ("instructlab-sdg", "instructlab-schema", "datasets", "docling", "openai", "pandas")
_ROLES = ("skills_train_msgs", "knowledge_train_msgs", "messages", "train", "test")


class GenerateResult(Shown, BaseModel):
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
    rejected: dict[str, int] = Field(
        description="Answers that gave no row, by reason: empty, cut, wrong_tags, no_question, "
        "missing_field, reasoning, bad_characters."
    )
    rejected_file: str | None = Field(
        default=None, description="JSONL of those answers with reason, leaf, block and row; None without any."
    )
    tokens: dict[str, int] = Field(
        default_factory=dict, description="What the teacher read (`prompt`) and wrote (`answer`)."
    )
    tokens_counted: bool = Field(
        default=True, description="False where the server counts no tokens: then they are 1.3 a word."
    )
    teacher: dict[str, Any]

    def __fspath__(self) -> str:
        return self.path

    def to_dataframe(self, role: str | None = None) -> pandas.DataFrame:
        """The training rows as a pandas table.

        Columns: role, user, assistant, system. `role` chooses one file of `files` (such as 'knowledge');
        None takes skills and knowledge, which training uses. NotFound for a role that this dataset has not.
        """
        engine.require("A table of rows", "pandas")
        import pandas

        if role is not None and role not in self.files:
            raise NotFound(f"This dataset has no {role} file.", f"It has {', '.join(sorted(self.files))}.")
        roles = [role] if role else [name for name in ("skills", "knowledge") if name in self.files]
        rows = [{"role": name, **turns} for name in roles for turns in _turns(Path(self.files[name]))]
        return pandas.DataFrame(rows, columns=["role", "user", "assistant", "system"])

    def _repr_html_(self) -> str:
        """A table of leaves and their rows, and what was kept apart."""
        rows = [(leaf, f"{count:,}") for leaf, count in self.rows_per_leaf.items()]
        rows += [(f"kept apart: {reason}", f"{count:,}") for reason, count in self.rejected.items() if count]
        title = f"{html(self.dataset)}: {self.rows:,} rows in {html(self.path)}"
        return f"<p>{title}</p>{table(('leaf', 'rows'), rows)}"

    def __str__(self) -> str:
        apart = sum(self.rejected.values())
        return f"{self.dataset}: {self.rows:,} rows, {apart:,} answers kept apart, in {self.path}"


class Data(Curation):
    """A taxonomy, a teacher and a pipeline. The arguments are those of the `generate` job.

    `teacher` is None or 'embedded', an address, or the fields of `TeacherSettings`; `teacher_model` names its
    model, and `num_cpus` is InstructLab's word for `num_workers`. An empty text counts as not given.
    """

    def __init__(
        self,
        taxonomy_path: str | os.PathLike[str] | None = None,
        taxonomy_base: str | None = None,
        teacher: TeacherSettings | Mapping[str, Any] | str | None = None,
        pipeline: str | None = None,
        scale: int | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        data_path: str | os.PathLike[str] | None = None,
        configuration: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        teacher_model: str | None = None,
        num_cpus: int | str | None = None,
        **more: Any,
    ) -> None:
        self.data_path = data_path or None
        self.configuration = Config.of(configuration)
        given = {
            "taxonomy_path": str(paths.given(taxonomy_path)) if taxonomy_path else None,
            "taxonomy_base": taxonomy_base,
            "teacher": _named(teacher, teacher_model) if teacher_model else teacher,
            "num_workers": num_cpus,
            "pipeline": pipeline,
            "scale": scale,
            "output_dir": None if output_dir is None else str(paths.given(output_dir)),
        }
        self.settings = _checked(
            {
                "taxonomy_path": str(paths.taxonomy_dir()),
                **self.configuration.resolvable.arguments(DATA),
                **{name: value for name, value in given.items() if value not in (None, "")},
                **more,
            }
        )

    def __repr__(self) -> str:
        return f"Data({self.settings.taxonomy_path!r}, pipeline={self.settings.pipeline!r})"

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Data:
        """From the fields of a `generate` spec."""
        return cls(**spec)

    def ingest(
        self,
        documents: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        prune: bool = False,
        as_knowledge: bool | str | os.PathLike[str] = False,
        reporter: Reporter | None = None,
        **settings: Any,
    ) -> IngestResult:
        """Convert documents to markdown and chunks in `output_dir`.

        `output_dir` is `documents` in InstructLab's data folder where None.

        `documents` are files and folders, `data_path` of the constructor where None: md, html, docx, pptx,
        csv, txt and pdf. `guide.pdf` becomes `guide.pdf.md`; all chunks are in `chunks.jsonl`, and
        `ingest.json` maps results to documents. A document that cannot be read is in `failures` with the
        reason; lost parts of a document are in `warnings`. Unchanged documents are not read again; results of
        removed documents are removed with `prune` only; no other file is changed.

        With `as_knowledge` the markdown is committed to a git repository, the default one (True) or the one
        at a path, and `document_block()` of the result is the `document` entry of a knowledge leaf.
        `settings` are those of `ReadSettings`: `chunk_tokens`, `tokenizer`, `max_bytes`, `max_documents`,
        `timeout` in seconds for one document, `pdf`, `pdf_models`.

        NotFound, InvalidInput, TooLarge for arguments; Unprocessable where there is no document at all;
        Conflict where another process writes into the folder; Stopped.
        """
        from ilab_jupyter.retrieval import ingestion
        from ilab_jupyter.retrieval.settings import ReadSettings

        given = self.data_path if documents is None else documents
        if given is None:
            raise InvalidInput("No documents were given.", "Give a file, a folder, or a list of them.")
        try:
            checked = ReadSettings.model_validate(settings)
        except ValidationError as error:
            raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "See the arguments of ingest.") from None
        engine.require("Reading documents", "docling", "pypdfium2")
        several = [given] if isinstance(given, str | os.PathLike) else list(given)
        return ingestion.ingest(
            several,
            output_dir,
            checked,
            reporter or ConsoleReporter(),
            prune=prune,
            as_knowledge=as_knowledge,
        )

    def generate_data(
        self,
        client: Any = None,
        data: str | os.PathLike[str] | None = None,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        resume: bool = False,
        reporter: Reporter | None = None,
    ) -> GenerateResult:
        """Generate a dataset and return its files.

        `client` is an openai client, or anything with its `completions.create`, in place of the teacher; it
        needs a `teacher_model` only where the model's name cannot be listed. `data` is a folder of documents,
        or a result of `ingest`: knowledge leaves read their documents there instead of their repositories,
        as with `Data(documents=...)`. `run_dir` stores the state; with `resume` the run continues from it,
        and answers in it are not requested again.

        The taxonomy is checked before the engine is loaded. Unprocessable for an invalid taxonomy or no rows,
        TeacherError, Conflict where the dataset's name is taken, Stopped when the reporter requests a stop.
        """
        reporter = reporter or ConsoleReporter()
        settings = self.settings
        if client is None and settings.teacher.kind == "embedded" and settings.teacher.model is not None:
            raise InvalidInput(
                f"The teacher {settings.teacher.model!r} has no address.",
                "Give its address, Data(teacher='http://.../v1'), or a client.",
            )
        reporter.phase("validating", settings.taxonomy_path)
        files = Taxonomy.check(settings.taxonomy_path, settings.taxonomy_base)
        root = taxonomy_root(settings.taxonomy_path)
        if data is not None:
            there = dict.fromkeys(qna.repositories(root, files), str(Path(data).absolute()))
            settings = settings.model_copy(update={"documents": {**there, **settings.documents}})

        engine.require("Generation", "instructlab.sdg", "datasets", "openai")
        from ilab_jupyter.synthesis import run

        run.check_pipeline(settings.pipeline)
        inputs = run.inputs_hash(settings, root, files)
        folder = paths.given(run_dir).absolute() if run_dir else paths.state_dir() / "generate" / inputs[:16]
        with _held(folder):
            return self._generated(folder, inputs, settings, root, files, client, resume, reporter)

    def _generated(
        self,
        folder: Path,
        inputs: str,
        settings: Settings,
        root: Path,
        files: list[str],
        client: Any,
        resume: bool,
        reporter: Reporter,
    ) -> GenerateResult:
        from ilab_jupyter.synthesis import run

        plan = _plan(folder, inputs, resume)
        if plan["published"] and _made_of(Path(plan["published"])) == inputs:
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
                "inputs": inputs,
                "pipeline": settings.pipeline,
                "taxonomy_hash": run.taxonomy_hash(root, files),
                "leaves": files,
                "spec": settings.model_dump(mode="json"),
                "seed": settings.seed,
                "libraries": hardware.versions(_LIBRARIES),
                "rows": sum(tally.rows_per_leaf.values()),
                "rows_per_leaf": tally.rows_per_leaf,
                "rejected": tally.rejected,
                "tokens": {"prompt": tally.spent.prompt, "answer": tally.spent.answer},
                "tokens_counted": tally.spent.counted,
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
        result = _result(target, plan["suffix"])
        _clean(folder, _ANSWERS)
        reporter.artifact("dataset", result.dataset, target)
        return result


def _named(teacher: TeacherSettings | Mapping[str, Any] | str | None, model: str) -> dict[str, Any]:
    """The teacher's fields with its model's name."""
    if isinstance(teacher, TeacherSettings):
        return {**teacher.model_dump(exclude_unset=True), "model": model}
    if teacher in (None, "", "embedded"):
        return {"model": model}
    fields = {"kind": "openai", "url": teacher} if isinstance(teacher, str) else dict(teacher)
    return {**fields, "model": model}


def _checked(fields: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "See the arguments of Data.") from None


def _plan(folder: Path, inputs: str, resume: bool) -> dict[str, Any]:
    """The state of the run in `folder`: resumed where its inputs are the same, a new one otherwise."""
    if resume:
        with contextlib.suppress(OSError, ValueError, KeyError):
            plan: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if plan["inputs"] == inputs:
                return plan
    # the answers stay with resume: each is kept under its own prompt, and what has changed asks other prompts
    _check_ours(folder)
    _clean(folder, *(() if resume else (_ANSWERS,)))
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
    """The folder of the new dataset: the requested name, or the first free one of this second."""
    output = settings.output_dir
    datasets = paths.given(output).absolute() if output else paths.datasets_dir()
    # before any request to the teacher: its answers may have cost hours
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


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Create the folder and lock it for this generation; Conflict where another one uses it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise Unavailable(
            f"The run's folder {folder} cannot be written: {error.strerror}.", "Free or choose a disk."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"Another generation is using {folder}.", "Wait for it, or choose another run_dir."
            ) from None
        yield
    finally:
        os.close(lock)


def _check_ours(folder: Path) -> None:
    """Conflict where the folder has files of these names that no run created: they would be removed."""
    if (folder / "run.json").is_file():
        return
    for name in (*_LEFT, _ANSWERS):
        if (folder / name).exists():
            raise Conflict(
                f"{folder} has {name!r}, which is not of a generation.",
                "Choose an empty folder as run_dir: what a run leaves behind is removed there.",
            )


def _made_of(dataset: Path) -> str | None:
    """The inputs of a published dataset; None where it does not exist."""
    try:
        made: dict[str, Any] = json.loads((dataset / "ilab-lineage.json").read_text(encoding="utf-8"))
        return str(made["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _clean(folder: Path, *files: str) -> None:
    """Remove the files of a run, and nothing else in a folder of the user's choice."""
    for name in _LEFT:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in files:
        (folder / name).unlink(missing_ok=True)


def _teacher(settings: Settings, client: Any) -> Any:
    from ilab_jupyter.synthesis import teachers

    if client is None:
        return teachers.make(settings.teacher, settings.num_workers)
    from ilab_jupyter.synthesis.teachers import remote

    wanted = settings.teacher
    model = wanted.model or remote.first_model(client, "the given client", wanted.max_retries)
    return remote.RemoteTeacher(
        client,
        model,
        num_workers=settings.num_workers,
        chat=wanted.endpoint == "chat",
    )


def _result(target: Path, suffix: str) -> GenerateResult:
    lineage = json.loads((target / "ilab-lineage.json").read_text(encoding="utf-8"))
    rejected = target / "rejected.jsonl"
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
        rejected_file=str(rejected) if rejected.is_file() else None,
        tokens=lineage["tokens"],
        tokens_counted=lineage["tokens_counted"],
        teacher=lineage["teacher"],
    )


def _counted(path: Path) -> tuple[int, int]:
    """(rows, different pairs of user and assistant turns)."""
    pairs = [(turns.get("user"), turns.get("assistant")) for turns in _turns(path)]
    return len(pairs), len(set(pairs))


def _turns(path: Path) -> Iterator[dict[str, Any]]:
    """The text of each role in each row of either format."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {turn["role"]: turn["content"] for turn in row.get("messages", ())} or row
