"""One generation, from a checked taxonomy to a dataset folder: instructlab-sdg's own steps in a folder that
can be resumed.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import random
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from ilab_jupyter import durable
from ilab_jupyter.errors import PublicError, Unavailable, Unprocessable, chain
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.synthesis import compatibility, documents, leaves, pairs, seeds
from ilab_jupyter.synthesis.compatibility import one_line_end, read_lines, write_lines
from ilab_jupyter.synthesis.driver.client import Client
from ilab_jupyter.synthesis.driver.flow import Lane, apart, drive
from ilab_jupyter.synthesis.driver.ledger import Ledger
from ilab_jupyter.synthesis.driver.pool import Pool
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.settings import Settings
from ilab_jupyter.synthesis.teachers import Spent, Teacher

SYSTEM_PROMPT = "You are a helpful assistant."
_NO_SENTENCE = "Write whole sentences in the documents, or use a teacher with a URL."


Row = dict[str, Any]


@dataclass(frozen=True)
class Tally:
    """What came out of a generation, before it was mixed, and what it cost."""

    rows_per_leaf: dict[str, int]
    rejected: dict[str, int]
    spent: Spent


def inputs_hash(settings: Settings, root: Path, files: list[str]) -> str:
    """Of everything that decides the rows: the leaves' bytes and the settings, but not where the rows go."""
    requested = settings.model_dump(
        mode="json", exclude={"output_dir", "name", "num_workers", "taxonomy_path"}
    )
    digest = hashlib.sha256(json.dumps(requested, sort_keys=True).encode())
    digest.update(taxonomy_hash(root, files).encode())
    return digest.hexdigest()


def taxonomy_hash(root: Path, files: list[str]) -> str:
    """Of the chosen leaves: their paths and bytes."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0{hashlib.sha256((root / file).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


class Run:
    """The steps of a generation below `run_dir`. Each leaves its result there, complete or not at all."""

    def __init__(
        self, settings: Settings, teacher: Teacher, run_dir: Path, suffix: str, reporter: Reporter
    ) -> None:
        self._settings = settings
        self._teacher = teacher
        self._dir = run_dir
        self._suffix = suffix
        self._reporter = reporter
        self._system_prompt = settings.system_prompt or SYSTEM_PROMPT
        self.build = run_dir / "build"

    def work(self, root: Path, files: list[str]) -> Tally:
        """Fill `build` with the dataset of these leaves. PublicError for what the user can correct, Stopped
        on request.
        """
        copies = leaves.copy(
            root, files, self._dir / "leaves", self._settings.documents, lambda: self._reporter.stopping
        )
        with compatibility.environment(self._dir, copies.environment):
            sdg = compatibility.patch()
            samples = self._prepare(sdg, copies)
            self._teacher.study([row for rows in samples.values() for row in rows])
            with Journal(self._dir / "answers.jsonl") as journal:
                tally = self._generate(sdg, journal, copies, samples)
            self._mix(sdg)
        return tally

    def _prepare(self, sdg: Any, copies: leaves.Copies) -> dict[str, list[dict[str, Any]]]:
        """Samples by node, in the order of the nodes."""
        shutil.rmtree(self.build, ignore_errors=True)
        self.build.mkdir(parents=True)
        target = self.build / f"preprocessed_{self._suffix}"
        target.mkdir()
        models = documents.read_models() if any(leaf.kind == "knowledge" for leaf in copies.leaves) else None
        samples = {}
        for leaf in sorted(copies.leaves, key=lambda item: item.node):
            if self._reporter.stopping:
                raise Stopped("generation was stopped on request")
            with _spoken_errors(leaf.file):
                rows = seeds.samples(copies.root / leaf.copy, leaf, models)
            if not rows:
                raise Unprocessable(
                    f"{leaf.file} gives no samples.", "See the job's log.", cause="no_samples"
                )
            samples[leaf.node] = [_one_line_ends(row) for row in rows]
            write_lines(target / f"{leaf.node}.jsonl", samples[leaf.node])
        with _spoken_errors():
            sdg._gen_test_data(
                [row for rows in samples.values() for row in rows],
                str(self.build / f"test_{self._suffix}.jsonl"),
                self._system_prompt,
            )
        return samples

    def _generate(
        self, sdg: Any, journal: Journal, copies: leaves.Copies, samples: dict[str, list[Row]]
    ) -> Tally:
        twice = sum(len(samples[leaf.node]) for leaf in copies.leaves if leaf.kind == "knowledge")
        once = sum(map(len, samples.values()))
        test = f", {twice:,} of them also for test questions: {once + twice:,} steps" if twice else ""
        self._reporter.phase("generating", f"{once:,} samples{test}")
        ledger = Ledger(self._reporter, self.build / "rejected.jsonl", journal.spent)
        questions: dict[str, list[Row]] = {}
        with contextlib.ExitStack() as files:
            files.callback(ledger.close)

            async def generate() -> None:
                pool = Pool(
                    self._teacher,
                    journal,
                    most=self._settings.num_workers,
                    max_retries=self._settings.teacher.max_retries,
                    max_tokens=self._settings.teacher.max_tokens,
                    stopping=lambda: self._reporter.stopping,
                    on_answers=ledger.answered,
                    delayed=ledger.delayed,
                    pulse=ledger.pulse,
                )
                try:
                    async with pool:
                        lanes = self._lanes(sdg, pool, ledger, copies, samples, questions, files)
                        await drive(lanes, pool, ledger, self._settings.batch_size)
                finally:
                    await self._teacher.close()

            with _spoken_errors():
                apart(generate)
        rows_per_leaf = {}
        silent: list[str] = []
        for leaf in sorted(copies.leaves, key=lambda item: item.node):
            rows_per_leaf[leaf.file] = ledger.rows[leaf.file]
            if leaf.node in questions:
                self._evaluation(sdg, leaf.node, samples[leaf.node], questions[leaf.node])
            if not ledger.rows[leaf.file]:
                self._generated(leaf).unlink()
                if self._teacher.literal and leaf.kind == "knowledge":
                    silent.append(
                        f"{leaf.file}: the embedded teacher finds no sentence in {_names(copies, leaf)}"
                    )
                    self._reporter.warning(f"{silent[-1]}.", _NO_SENTENCE)
                    continue
                self._reporter.warning(
                    f"{leaf.file} has no rows.", "Its teacher's answers were empty or all rejected."
                )
        if silent and not any(rows_per_leaf.values()):
            raise Unprocessable(f"{silent[0]}.", _NO_SENTENCE, cause="no_rows")
        if not any(rows_per_leaf.values()):
            raise Unprocessable(
                f"The teacher's answers gave no row: {_listed(ledger.rejected)}"
                "the pipeline rejected the rest.",
                "Try another model, or look at what it answers in the job's log and answers.jsonl.",
                cause="no_rows",
            )
        return Tally(rows_per_leaf, dict(ledger.rejected), ledger.spent)

    def _lanes(
        self,
        sdg: Any,
        pool: Pool,
        ledger: Ledger,
        copies: leaves.Copies,
        samples: dict[str, list[Row]],
        questions: dict[str, list[Row]],
        files: contextlib.ExitStack,
    ) -> list[Lane]:
        """Each leaf through its pipeline, and knowledge through the one that makes questions for a test."""
        context = sdg._context_init(
            Client(pool),
            None,
            self._teacher.model,
            self._settings.scale,
            None,
            1,
            batch_num_workers=None,
            batch_size=self._settings.batch_size,
        )
        knowledge, freeform, grounded = sdg._sdg_init(context, self._settings.pipeline)
        pipelines = {"knowledge": knowledge, "freeform": freeform, "grounded": grounded}
        (self.build / f"generated_{self._suffix}").mkdir()
        lanes = []
        for leaf in sorted(copies.leaves, key=lambda item: item.node):
            rows = samples[leaf.node]
            out = files.enter_context(self._generated(leaf).open("w", encoding="utf-8"))
            pipeline = pipelines[leaf.kind]
            lanes.append(
                Lane(leaf.file, pipeline, rows, _keeper(leaf, pipeline, out, ledger, self._teacher.literal))
            )
            if leaf.kind == "knowledge":
                questions[leaf.node] = []
                test = sdg.mmlubench_pipe_init(context)
                lanes.append(Lane(leaf.file, test, rows, questions[leaf.node].extend))
        return lanes

    def _generated(self, leaf: leaves.Leaf) -> Path:
        return self.build / f"generated_{self._suffix}" / f"{leaf.node}.jsonl"

    def _evaluation(self, sdg: Any, node: str, samples: list[Row], made: list[Row]) -> None:
        """Multiple-choice questions on the leaf, for MMLU-Branch; without them the dataset is valid, too."""
        from datasets import Dataset  # type: ignore[import-untyped]

        done = types.SimpleNamespace(generate=lambda samples: Dataset.from_list(made))
        try:
            sdg.generate_eval_task_data(done, node, Dataset.from_list(samples), self.build, self._suffix)
        except Exception as error:
            self._reporter.warning(
                f"{node} has no multiple-choice questions: {error}", "Its training rows are not affected."
            )

    def _mix(self, sdg: Any) -> None:
        if self._reporter.stopping:
            raise Stopped("generation was stopped on request")
        self._reporter.phase("mixing")
        # the generator draws documents and instructions from the process's own random numbers
        state = random.getstate()
        random.seed(self._settings.seed)
        try:
            with _spoken_errors():
                self._mixed(sdg)
        finally:
            random.setstate(state)
        for path in sorted(self.build.rglob("*.jsonl")):
            self._finish(path)

    def _mixed(self, sdg: Any) -> None:
        sdg.postprocess_taxonomy(
            input_dir=glob.escape(str(self.build / f"generated_{self._suffix}")),
            output_dir=str(self.build),
            date_suffix=self._suffix,
            pipeline=self._settings.pipeline,
            num_procs=None,
            system_prompt=self._system_prompt,
            use_legacy_pretraining_format=False,
        )
        for part in ("skills", "knowledge"):
            sdg.mix_datasets(
                recipe_file=str(self.build / f"{part}_recipe_{self._suffix}.yaml"),
                output_file=str(self.build / f"{part}_train_msgs_{self._suffix}.jsonl"),
                num_proc=None,
                system_prompt=self._system_prompt,
            )

    def _finish(self, path: Path) -> None:
        """Same rows, same bytes: ids come from the content, and the metadata names the teacher in every
        file that has one.
        """
        if path.parent.name.startswith(("preprocessed", "generated")) or path.name == "rejected.jsonl":
            return
        rows = read_lines(path)
        for number, row in enumerate(rows):
            if isinstance(row.get("metadata"), str):
                row["metadata"] = json.dumps(
                    {**json.loads(row["metadata"]), "teacher": self._teacher.label}, ensure_ascii=False
                )
            if "id" in row:
                content = json.dumps([path.name.split("_")[0], number, row["messages"]], sort_keys=True)
                row["id"] = hashlib.sha256(content.encode()).hexdigest()[:32]
        write_lines(path, rows)


def publish(build: Path, target: Path, lineage: dict[str, Any], suffix: str) -> None:
    """Make `build` the dataset folder `target`, all of it or nothing. The copy is made beside the target
    until it is whole.
    """
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(build, partial)
        for path in partial.glob(f"node_datasets_{suffix}/*_task.yaml"):
            # lm-eval wants an absolute path in its tasks
            path.write_text(
                path.read_text(encoding="utf-8").replace(str(build), str(target)), encoding="utf-8"
            )
        (partial / "ilab-lineage.json").write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
        for path in [*partial.rglob("*"), partial]:
            durable.sync(path)
        partial.rename(target)
        durable.sync(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Unavailable(
            f"The dataset cannot be written to {target}: {error.strerror}.", "Free or choose another disk."
        ) from error


def check_pipeline(pipeline: str) -> None:
    """Unprocessable for a pipeline that is neither bundled nor a folder with its three files."""
    if pipeline in ("simple", "full", "llama"):
        return
    folder = Path(pipeline)
    wanted = ("knowledge.yaml", "freeform_skills.yaml", "grounded_skills.yaml")
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise Unprocessable(
            f"The pipeline {pipeline!r} is not bundled, and no folder with {missing[0]}.",
            f"Choose simple, full, llama, or a folder with {', '.join(wanted)}.",
            cause="bad_pipeline",
        )
    for name in wanted:
        try:
            content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise Unprocessable(
                f"{folder / name} cannot be read: {error}", "Mend it.", cause="bad_pipeline"
            ) from None
        if (
            not isinstance(content, dict)
            or "version" not in content
            or not isinstance(content.get("blocks"), list)
        ):
            raise Unprocessable(
                f"{folder / name} is no pipeline: it needs `version` and `blocks`.",
                "Start from one of instructlab-sdg's own pipelines.",
                cause="bad_pipeline",
            )


def _keeper(
    leaf: leaves.Leaf, pipeline: Any, out: TextIO, ledger: Ledger, literal: bool
) -> Callable[[list[Row]], None]:
    """Writes a leaf's rows, except those that the next step cannot read. Labels of a language model around
    question and answer are removed.
    """
    last = pipeline.chained_blocks[-1]["name"]

    def keep(rows: list[Row]) -> None:
        for row in rows:
            text = row.get("output") if "output" in row else row.get("response")
            if not isinstance(text, str) or not text.strip():
                ledger.reject("empty", leaf.file, last, "", row)
            elif "output" in row and pairs.split(text) is None:
                ledger.reject("no_question", leaf.file, last, text, row)
            else:
                if "output" not in row and not literal and (bare := pairs.unlabelled(text)) != text.strip():
                    row = {**row, "response": bare}
                ledger.rows[leaf.file] += 1
                out.write(json.dumps(row, ensure_ascii=False) + "\n")

    return keep


def _names(copies: leaves.Copies, leaf: leaves.Leaf) -> str:
    """The documents of a leaf, the first three by name."""
    names = [path.name for path in seeds.documents_of(copies.root / leaf.copy)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _one_line_ends(row: Row) -> Row:
    return {key: one_line_end(value) if isinstance(value, str) else value for key, value in row.items()}


def _listed(rejected: Mapping[str, int]) -> str:
    said = {
        "empty": "were empty",
        "cut": "were cut off",
        "wrong_tags": "lacked their tags",
        "no_question": "had no question",
        "missing_field": "lacked a field",
        "reasoning": "were reasoning without an answer",
        "bad_characters": "contained control characters or unpaired surrogates",
    }
    return "".join(f"{rejected[reason]} {words}, " for reason, words in said.items() if rejected[reason])


@contextlib.contextmanager
def _spoken_errors(leaf: str = "") -> Iterator[None]:
    """What instructlab-sdg, docling and datasets raise becomes a PublicError that names the leaf, where it is
    known, and the document. What the machine lacks (disk, memory) stays what it is.
    """
    try:
        yield
    except (PublicError, Stopped, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        spoken = next((cause for cause in chain(error) if isinstance(cause, PublicError)), None)
        if spoken is not None:
            raise spoken from error
        for cause in chain(error):
            if isinstance(cause, documents.DocumentError):
                raise Unprocessable(
                    f"{leaf}, document {cause.name}: {cause.problem}.", cause.hint, cause="no_documents"
                ) from error
            if isinstance(cause, OSError | MemoryError):
                raise cause from error
        if type(error).__name__ in (
            "PipelineBlockError",
            "PipelineConfigParserError",
            "BlockConfigParserError",
        ):
            raise Unprocessable(
                f"The pipeline failed: {' '.join(str(error).split())[:300]}",
                "See the job's log; with a pipeline of your own, check this block.",
                cause="pipeline_failed",
            ) from error
        said = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise Unprocessable(
            f"{leaf or 'The rows of the leaves'}: instructlab-sdg fails ({type(error).__name__}: {said}).",
            "Compare the leaf with a valid one; the job's log has the details.",
            cause="pipeline_failed",
        ) from error
