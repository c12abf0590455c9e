"""What instructlab-sdg 0.8.3 needs to run on today's libraries. Each change to it is here and says why."""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import re
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter.durable import write_durably
from ilab_jupyter.synthesis import pairs

# str.splitlines ends a line at these too, and instructlab-sdg reads its own JSON lines with it.
_OTHER_LINE_ENDS = re.compile("[\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")


def one_line_end(text: str) -> str:
    """`text` with the line feed as its only line end."""
    return _OTHER_LINE_ENDS.sub("\n", text.replace("\r\n", "\n").replace("\r", "\n"))


@contextlib.contextmanager
def environment(run_dir: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of a run: git's settings, the scripts of this interpreter, a cache
    of its own.
    """
    cache = run_dir / "cache"
    changes = {
        **settings,
        # GitPython and instructlab-schema start programs by name; a kernel's PATH often lacks its own
        # environment
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # the mixing step reads JSON through this cache, which would otherwise fill the user's home for good
        "HF_DATASETS_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
    }
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        import datasets  # type: ignore[import-untyped]

        # read at import, which may have been long ago
        old_cache = datasets.config.HF_DATASETS_CACHE
        had_bars = not datasets.are_progress_bars_disabled()
        datasets.config.HF_DATASETS_CACHE = cache
        datasets.disable_progress_bars()
        try:
            yield
        finally:
            datasets.config.HF_DATASETS_CACHE = old_cache
            if had_bars:
                datasets.enable_progress_bars()
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def patch() -> Any:
    """Change instructlab-sdg in this process, once, and return its `generate_data` module."""
    # the package's attribute of this name is a function
    module: Any = importlib.import_module("instructlab.sdg.generate_data")
    if not getattr(module, "patched_by_ilab_jupyter", False):
        _without_forks(module)
        _with_own_documents()
        _without_lint()
        _with_sorted_files(module)
        _with_pandas_3()
        _with_stable_mixing()
        _with_whole_questions(module)
        _with_seeds_in_the_mix()
        _with_literal_paths()
        module.patched_by_ilab_jupyter = True
    return module


def _without_forks(module: Any) -> None:
    """Eight processes for each Filter and Map are wired in: on small data their start costs a hundred times
    the work.
    """
    original = module._context_init

    def context_init(*arguments: Any, **named: Any) -> Any:
        context = original(*arguments, **named)
        context.dataset_num_procs = None
        return context

    module._context_init = context_init


def _with_own_documents() -> None:
    """instructlab-sdg calls a function of docling that is gone, downloads models, and searches the documents
    again, with the path of its clone as part of the pattern.
    """
    from ilab_jupyter.synthesis import documents

    module: Any = importlib.import_module("instructlab.sdg.utils.taxonomy")
    module.DocumentChunker = documents.Chunker
    module._get_documents = documents.found


def _without_lint() -> None:
    """yamllint is started for each file and a space at a line's end would be fatal; our own validation came
    before.
    """
    from instructlab.schema.taxonomy import TaxonomyParser

    parser: Any = TaxonomyParser
    parser._yamllint = lambda parser, text, taxonomy: None


def _with_sorted_files(module: Any) -> None:
    """Leaves come in the order of the disk's folder, and the random numbers of the mixing with them."""

    def sorted_glob(pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))  # noqa: PTH207  in place of the very same call

    module.glob = types.SimpleNamespace(glob=sorted_glob)


def _with_pandas_3() -> None:
    """pandas 3 makes large_string columns, which `concatenate_datasets` refuses beside string ones."""
    import datasets

    def from_frame(frame: Any) -> Any:
        return datasets.Dataset.from_list(frame.reset_index(drop=True).to_dict("records"))

    for name in ("instructlab.sdg.utils.pandas", "instructlab.sdg.datamixing"):
        module: Any = importlib.import_module(name)
        module.dataset_from_pandas_dataframe = from_frame


def _with_stable_mixing() -> None:
    """Distractor documents are drawn from a set, whose order differs in each process: the same run gave other
    rows.
    """

    module: Any = importlib.import_module("instructlab.sdg.datamixing")

    def ordered(items: Iterable[str] = ()) -> dict[str, None]:
        return dict.fromkeys(sorted(items))

    module.set = ordered


def _with_whole_questions(module: Any) -> None:
    """All up to the first question mark is the question for instructlab-sdg, also in the middle of code."""
    mixing: Any = importlib.import_module("instructlab.sdg.datamixing")

    def question(row: Mapping[str, Any]) -> str:
        if "question" in row:
            return str(row["question"])
        found = pairs.split(str(row.get("output") or ""))
        return found.question if found else ""

    def response(row: Mapping[str, Any]) -> str:
        if "response" in row:
            return str(row["response"])
        found = pairs.split(str(row.get("output") or ""))
        return found.answer if found else str(row.get("output") or "").strip()

    for namespace in (module, mixing):
        namespace._get_question_hack = question
        namespace._get_response_hack = response


def _with_seeds_in_the_mix() -> None:
    """Of each skill 30 rows are drawn at random, mostly without the seed examples as they were written."""
    mixing: Any = importlib.import_module("instructlab.sdg.datamixing")
    original = mixing._adjust_train_sample_size

    def adjusted(dataset: Any, count: int) -> Any:
        import datasets

        drawn = original(dataset, count)
        if not {"seed_question", "seed_response", "messages"} <= set(dataset.column_names):
            return drawn
        seeds = _seed_rows(dataset)
        rest = drawn.to_list()[: max(0, count - len(seeds))]
        return datasets.Dataset.from_list([*seeds, *rest], features=drawn.features)

    mixing._adjust_train_sample_size = adjusted


def _seed_rows(dataset: Any) -> list[dict[str, Any]]:
    """The rows that are a seed example as it was written, each once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in dataset:
        said = {turn["role"]: turn["content"] for turn in row["messages"]}
        seed = "\n\n".join(
            text.strip() for text in (row.get("seed_context"), row["seed_question"]) if text and text.strip()
        )
        if (said.get("user"), said.get("assistant")) == (seed, row["seed_response"].strip()):
            found.setdefault((seed, said["assistant"]), row)
    return list(found.values())


def _with_literal_paths() -> None:
    """`load_dataset` takes a path for a pattern or a chain of addresses: that of a leaf folder such as `a[1]`
    matches nothing.
    """
    mixing: Any = importlib.import_module("instructlab.sdg.datamixing")
    original = mixing.load_dataset

    def load(kind: str, data_files: str, **named: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "rows.jsonl"
            link.symlink_to(Path(data_files).absolute())
            return original(kind, data_files=str(link), **named)

    mixing.load_dataset = load
    import datasets

    write = datasets.Dataset.to_json

    def to_json(self: Any, path_or_buf: Any, *arguments: Any, **named: Any) -> Any:
        if not isinstance(path_or_buf, str | os.PathLike) or "::" not in str(path_or_buf):
            return write(self, path_or_buf, *arguments, **named)
        Path(path_or_buf).parent.mkdir(parents=True, exist_ok=True)
        with Path(path_or_buf).open("wb") as stream:
            return write(self, stream, *arguments, **named)

    datasets.Dataset.to_json = to_json


_INLINE = r"(?:\*{1,3}[^*\n]+\*{1,3}|\[[^\]\n]+\]\([^\s)]*\)|`[^`\n]+`)"
_ALONE = re.compile(_INLINE)
_CONTINUES = re.compile(r"[a-z0-9(,.;:)\u2013\u2014'\"]")


def repair_markup(text: str) -> str:
    """Join the lines that docling makes of one sentence with bold, italic, code or links in it."""
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and _belongs(lines[-1], line):
            lines[-1] = f"{lines[-1]} {line}"
        else:
            lines.append(line)
    joined = "\n".join(lines)
    joined = re.sub(rf"\( (?={_INLINE})", "(", joined)
    return re.sub(rf"({_INLINE}) (?=[,.;:)])", r"\1", joined)


def _belongs(before: str, line: str) -> bool:
    """True where `line` goes on with the sentence of `before`."""
    if not before.strip() or not line.strip() or line.startswith(("- ", "|")):
        return False
    if _ALONE.fullmatch(line):
        return not before.rstrip().endswith((".", "!", "?", ":", "|"))
    tail = before.rsplit(" ", 1)[-1] if before.endswith(("(", "[")) else before
    ends_inline = re.search(rf"{_INLINE}$", before) is not None
    return bool((ends_inline or tail.endswith("(")) and _CONTINUES.match(line))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSONL file, complete or not there at all."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_durably(path, lines.encode(), mode=0o666)
