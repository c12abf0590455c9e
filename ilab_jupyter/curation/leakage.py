"""Detection and removal of training rows that leak questions of an evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display
from ilab_jupyter.curation import fields, sources, targets, text
from ilab_jupyter.curation.fields import Reference
from ilab_jupyter.curation.similarity import Buckets
from ilab_jupyter.curation.sources import Source, Sources
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter
from ilab_jupyter.training.data import Conversation

Kind = Literal["exact", "normalised", "near", "ngram"]

LONG, SHORT = 13, 8
_BOILERPLATE = 10
_SHINGLE = 3


class Leak(BaseModel):
    """A training row and the evaluation question that it leaks."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    score: float = Field(
        description="1 for the same question, the Jaccard similarity of a near one; for n-grams the share of "
        "the question's that the training row holds."
    )
    file: str
    row: int
    evaluation_file: str
    evaluation_row: int
    text: str = Field(description="The beginning of the training row's question and answer.")
    evaluation_text: str


class Leakage(display.Shown, BaseModel):
    """Result of `leakage`. `leaks` contains the first ones; the report file contains all."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(description="Rows of the training data.")
    leaking: int = Field(description="Rows among them that give away at least one question.")
    questions: int = Field(description="Different questions of the evaluation.")
    leaked: int = Field(description="Questions among them that are given away.")
    kinds: dict[Kind, int] = Field(description="Pairs of a row and a question, by the surest kind.")
    leaks: tuple[Leak, ...]
    output: str | None = Field(description="The training data without the leaking rows.")
    report: str | None = Field(description="JSON Lines, a `Leak` each.")

    @property
    def clean(self) -> bool:
        """True if no question leaks."""
        return not self.leaking

    def __str__(self) -> str:
        summary = (
            f"{self.leaking:,} of {display.counted(self.rows, 'training row')} give away {self.leaked:,} of "
            f"{display.counted(self.questions, 'question')}"
        )
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.kinds.items())
        first = f"{summary} ({kinds})." if kinds else f"{summary}."
        lines = [first, *filter(None, (self.output, self.report))]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        listed = (
            (
                leak.kind,
                f"{leak.score:.2f}",
                f"{Path(leak.file).name}:{leak.row}",
                leak.text,
                f"{Path(leak.evaluation_file).name}:{leak.evaluation_row}",
                leak.evaluation_text,
            )
            for leak in self.leaks
        )
        head = ("kind", "score", "training row", "text", "evaluation row", "text")
        shown = display.table(head, listed, most=20) if self.leaks else ""
        return f"<pre>{display.html(str(self))}</pre>{shown}"


def leakage(
    train: Sources,
    evaluation: Sources,
    *,
    drop: bool = False,
    output: Source | None = None,
    threshold: float = 0.8,
    overlap: float = 0.0,
    overwrite: bool = False,
    limit: int = 100,
    reporter: Reporter | None = None,
) -> Leakage:
    """Find the questions of `evaluation` in `train`; with `drop`, write `train` without the rows found.

    A training row leaks a question if it contains the same question (`exact`: ignoring whitespace;
    `normalised`: ignoring case and punctuation; `near`: with a Jaccard similarity of at least `threshold`
    over runs of three words), or if it contains more than the share `overlap` of the 13-grams of the question
    and its answer (`ngram`; 8-grams if both have fewer than 13 words; shorter questions are only compared as
    a whole). N-grams that occur in more than 10 questions are boilerplate of the benchmark and do not count.
    N-grams of 13 words (at least 8), a single match, and the removal of frequent ones (there, in the training
    documents) follow Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C; the share
    follows Touvron et al. 2023, "Llama 2", appendix A.6.

    `evaluation` is a benchmark's JSON Lines (messages, MT-Bench turns, MMLU, DK-Bench, question and answer),
    or a generated run, whose test file is used. It is held in memory; `train` is streamed.
    """
    if not 0 <= overlap < 1:
        raise InvalidInput(f"overlap is {overlap}.", "Give a share from 0 (any run of words) to below 1.")
    if output is not None and not drop:
        raise InvalidInput("Without drop=True nothing is written.", "Give drop=True, or no output.")
    paths = sources.files(train)
    against = sources.files(evaluation, ("test",))
    index = Index(threshold, overlap)
    for known in (known for path in against for known in fields.read(path)):
        index.add(known)
    index.settle()
    file = report = None
    if drop:
        file = targets.choose(output, targets.beside(train, "-clean.jsonl"), (*paths, *against), overwrite)
        report = file.with_name(f"{file.stem}.leaks.ndjson")
        targets.choose(report, report, (*paths, *against), overwrite)
    rows = leaking = 0
    kinds: Counter[Kind] = Counter()
    leaked: set[int] = set()
    leaks: list[Leak] = []
    with ExitStack() as stack:
        details = stack.enter_context(targets.written(report, overwrite)) if report else None
        lines = stack.enter_context(targets.written(file, overwrite)) if file else None
        for record in sources.records(paths, reporter):
            rows += 1
            found = index.find(record.conversation)
            leaking += bool(found)
            if lines and not found:
                lines.write(record.line + b"\n")
            for match in found:
                kinds[match.kind] += 1
                leaked.add(match.item)
                if details or len(leaks) < limit:
                    leak = _leak(record.conversation, match, index.questions[match.item])
                    if details:
                        details.write(targets.line(leak.model_dump()))
                    if len(leaks) < limit:
                        leaks.append(leak)
    return Leakage(
        rows=rows,
        leaking=leaking,
        questions=len(index.questions),
        leaked=len(leaked),
        kinds=dict(kinds),
        leaks=tuple(leaks),
        output=str(file) if file else None,
        report=str(report) if report else None,
    )


@dataclass(frozen=True)
class Match:
    """A question of the index, by its number, that a training row leaks."""

    item: int
    kind: Kind
    score: float


class Index:
    """Index of the distinct questions of an evaluation."""

    def __init__(self, threshold: float, overlap: float) -> None:
        self.questions: list[Reference] = []
        self._threshold, self._overlap = threshold, overlap
        self._known: set[tuple[str, str]] = set()
        self._exact: defaultdict[str, list[int]] = defaultdict(list)
        self._normalised: defaultdict[str, list[int]] = defaultdict(list)
        self._shingles: list[frozenset[str]] = []
        self._buckets = Buckets(threshold)
        self._grams: dict[int, defaultdict[int, list[int]]] = {
            LONG: defaultdict(list),
            SHORT: defaultdict(list),
        }
        self._total: Counter[int] = Counter()

    def add(self, known: Reference) -> None:
        """Add a question. The same question with the same answer is added only once."""
        same = (text.tidy(known.question), text.tidy(known.answer))
        if same in self._known:
            return
        self._known.add(same)
        item = len(self.questions)
        self.questions.append(known)
        question, answer = text.words(known.question), text.words(known.answer)
        self._exact[same[0]].append(item)
        if question:
            self._normalised[" ".join(question)].append(item)
        self._shingles.append(text.shingles(question, _SHINGLE))
        self._buckets.add(self._buckets.keys(self._shingles[-1]))
        size = LONG if max(len(question), len(answer)) >= LONG else SHORT
        for gram in {*_grams(question, size), *_grams(answer, size)}:
            self._grams[size][gram].append(item)

    def settle(self) -> None:
        """Remove n-grams that too many questions contain. Call it after adding the last question."""
        for grams in self._grams.values():
            for gram in [gram for gram, items in grams.items() if len(items) > _BOILERPLATE]:
                del grams[gram]
            for items in grams.values():
                self._total.update(items)

    def find(self, conversation: Conversation) -> list[Match]:
        """Return the questions that a training row leaks, each with its most certain kind."""
        found: dict[int, Match] = {}
        for match in (*self._repeated(conversation), *self._contained(conversation)):
            found.setdefault(match.item, match)
        return list(found.values())

    def _repeated(self, conversation: Conversation) -> Iterator[Match]:
        """Yield the questions that the row contains as a question; the most certain kinds first."""
        turns = [message["content"] for message in conversation.messages if message["role"] == "user"]
        questions = dict.fromkeys(part for turn in turns for part in (turn, text.last_paragraph(turn)))
        for question in questions:
            for item in self._exact.get(text.tidy(question), ()):
                yield Match(item, "exact", 1.0)
        question_words = [words for question in questions if (words := text.words(question))]
        for words in question_words:
            for item in self._normalised.get(" ".join(words), ()):
                yield Match(item, "normalised", 1.0)
        near: dict[int, float] = {}
        for words in question_words:
            shingles = text.shingles(words, _SHINGLE)
            for item in self._buckets.candidates(self._buckets.keys(shingles)):
                score = text.jaccard(shingles, self._shingles[item])
                if score >= self._threshold:
                    near[item] = max(score, near.get(item, 0.0))
        for item, score in near.items():
            yield Match(item, "near", score)

    def _contained(self, conversation: Conversation) -> Iterator[Match]:
        """Yield the questions whose n-grams, or whose answer's, occur anywhere in the row."""
        turns = [text.words(turn["content"]) for turn in conversation.messages if turn["role"] != "system"]
        for size, grams in self._grams.items():
            if grams:
                held = {gram for words in turns for gram in _grams(words, size) if gram in grams}
                hits = Counter(item for gram in held for item in grams[gram])
                for item, number in hits.items():
                    score = number / self._total[item]
                    if score > self._overlap:
                        yield Match(item, "ngram", score)


def _grams(words: list[str], size: int) -> Iterator[int]:
    return map(hash, text.ngrams(words, size))


def _leak(conversation: Conversation, match: Match, known: Reference) -> Leak:
    parts = text.parts(conversation.messages)
    return Leak(
        kind=match.kind,
        score=round(match.score, 4),
        file=str(conversation.file),
        row=conversation.row,
        evaluation_file=str(known.file),
        evaluation_row=known.row,
        text=display.cut(f"{parts.question} {parts.answer}"),
        evaluation_text=display.cut(f"{known.question} {known.answer}"),
    )
