"""The embedded teacher, which is not a language model. It answers instructlab-sdg's prompts from their text.

Answers are seed answers and sentences of the document, word for word; questions come from templates;
judgements from word overlap. The same prompt always gets the same answers. It cannot invent anything, and its
rows say `extractive` for that reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.synthesis.pairs import joined
from ilab_jupyter.synthesis.teachers import Answer, Question, Refused, Reply, Spent, phrasing, sentences
from ilab_jupyter.synthesis.teachers.templates import Templates

LABEL = "extractive"

# Shares of content words from which a judge says yes.
SUPPORTED = 0.7
RELATED = 0.2

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """A question and its only answer."""

    question: str
    answer: str


class EmbeddedTeacher:
    """A teacher in this process. After `study` no question of a run has two answers, whatever order it is
    variants in.
    """

    label = LABEL
    model = LABEL
    many = True
    literal = True

    def __init__(self) -> None:
        self._templates = Templates()
        self._pairs: dict[str, list[Pair]] = {}
        self._turns: dict[tuple[str, str], tuple[int, int]] = {}
        self._seeds: dict[str, set[str]] = {}

    def describe(self) -> dict[str, Any]:
        """Says plainly what this is."""
        return {"kind": "embedded", "model": LABEL, "extractive": True}

    async def close(self) -> None:
        """Nothing is held."""

    def study(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Read all seeds and documents, and settle which document answers which question."""
        rows = list(samples)
        known: dict[str, set[str]] = {}
        chunks: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            for field, value in row.items():
                if field.startswith(("seed_question", "icl_query", "document_outline")) and value:
                    known.setdefault(field, set()).add(value)
            for pair in _seeds(row):
                self._seeds.setdefault(pair.question.strip(), set()).add(pair.answer.strip())
            if row.get("document"):
                chunks.setdefault(row["document"], []).append(row)
        self._templates = Templates(known)
        names = phrasing.names_in(sentences.plain(" ".join(chunks)))
        taken: set[str] = set()
        for document, with_document in chunks.items():
            seeds = [pair for row in with_document for pair in _seeds(row)]
            fresh = [pair for pair in _pairs(document, seeds, names) if _normal(pair.question) not in taken]
            taken.update(_normal(pair.question) for pair in fresh)
            self._pairs[document] = fresh
            for turn, row in enumerate(with_document):
                self._turns[document, row["icl_query_1"]] = (turn, len(with_document))

    async def ask(self, question: Question) -> Reply:
        """Answer at once. TeacherError for a prompt that is none of instructlab-sdg's own."""
        if not isinstance(question.prompt, str):
            raise _unknown()
        answers = [Answer(self.respond(question.prompt, index)) for index in question.wanted]
        return Reply(answers, Spent())

    def another_way(self, refusal: Refused) -> None:
        """There is one way only, and it refuses nothing."""
        raise TeacherError(f"The embedded teacher refuses: {refusal.reason}.")

    def respond(self, prompt: str, index: int = 0) -> str:
        """Answer number `index` to `prompt`."""
        recognised = self._templates.recognise(prompt)
        if recognised is None:
            raise _unknown()
        return _HANDLERS[recognised.config](self, recognised.fields, index)

    def _candidates(self, fields: Fields) -> tuple[list[Pair], int, int]:
        """(pairs of the document, this seed's turn, turns in all): seeds of one document take different
        forms.
        """
        document = fields["document"]
        pairs = self._pairs.get(document)
        if pairs is None:  # not among the samples: earlier prompts do not affect the answer
            pairs = _pairs(document, list(_seeds(fields)), phrasing.names_in(sentences.plain(document)))
        digest = hashlib.sha256(fields["icl_query_1"].encode()).digest()
        return pairs, *self._turns.get((document, fields["icl_query_1"]), (digest[0] % 5, 5))

    def _simple_knowledge(self, fields: Fields, index: int) -> str:
        pairs, turn, turns = self._candidates(fields)
        if not pairs:
            return ""
        number = index * turns + turn
        pair = pairs[number % len(pairs)]
        return joined(phrasing.variant(pair.question, number // len(pairs)), pair.answer)

    def _full_knowledge(self, fields: Fields, index: int) -> str:
        pairs, turn, _ = self._candidates(fields)
        if not pairs:
            return "[UNANSWERABLE]"
        return "\n\n".join(
            f"[QUESTION]\n{phrasing.variant(pair.question, turn)}\n[ANSWER]\n{pair.answer}\n[END]"
            for pair in pairs
        )

    def _simple_freeform(self, fields: Fields, index: int) -> str:
        return joined(phrasing.variant(fields["seed_question"], index), fields["seed_response"])

    def _simple_grounded(self, fields: Fields, index: int) -> str:
        # as the pipeline `full` puts them together: the row has no other trace of the context
        question = phrasing.variant(fields["seed_question"], index)
        return joined(f"{fields['seed_context'].strip()}\n\n{question}", fields["seed_response"])

    def _contexts(self, fields: Fields, index: int) -> str:
        return f"[Start of Context]\n{phrasing.frame(fields['seed_context'], index)}\n[End of Context]"

    def _questions(self, fields: Fields, index: int) -> str:
        count = min(int(fields["num_samples"]), phrasing.FORMS)
        # the generator drops a question that another context has been given already
        first = count * phrasing.frame_number(fields.get("seed_context", ""), fields.get("context", ""))
        variants = (phrasing.variant(fields["seed_question"], first + number) for number in range(count))
        return "\n".join(f"[Start of Question]\n{question}\n[End of Question]" for question in variants)

    def _responses(self, fields: Fields, index: int) -> str:
        return f"[Start of Response]\n{fields['seed_response'].strip()}\n[End of Response]"

    def _copy(self, fields: Fields, index: int) -> str:
        return fields["document"]

    def _facts(self, fields: Fields, index: int) -> str:
        _, found = sentences.split(fields["document"])
        return (
            "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(found, 1))
            or fields["document"]
        )

    def _summary(self, fields: Fields, index: int) -> str:
        _, found = sentences.split(fields["document"])
        return " ".join(found) or fields["document"]

    def _choices(self, fields: Fields, index: int) -> str:
        return "\n".join(_multiple_choice(sentences.split(fields["document"])[1]))

    def _judge_faithfulness(self, fields: Fields, index: int) -> str:
        share = sentences.share(fields["response"], fields["document"])
        verdict = "YES" if share >= SUPPORTED else "NO"
        return _judgement("Explanation", _found(share, "the response", "the context"), "Answer", verdict)

    def _judge_relevancy(self, fields: Fields, index: int) -> str:
        share = sentences.share(fields["question"], fields["response"])
        score = 2 if self._is_seed_answer(fields["response"]) else (share > 0) + (share >= RELATED)
        return _judgement("Feedback", _found(share, "the question", "the response"), "Score", str(score))

    def _judge_question(self, fields: Fields, index: int) -> str:
        question = fields["question"].strip()
        refers = any(
            word in question.lower()
            for word in ("the document", "the passage", "the text above", "the table")
        )
        good = sentences.is_question(question) and 3 <= sentences.size(question) <= 80 and not refers
        good = good or self._has_seed(question)
        explanation = (
            "It stands alone." if good else "It is no question, or it points to something that is not here."
        )
        return _judgement("Explanation", explanation, "Rating", str(int(good)))

    def _judge_skill_question(self, fields: Fields, index: int) -> str:
        question = fields["question"].strip()
        whole = sentences.is_question(question) or question.endswith(".")
        good = whole and 3 <= sentences.size(question) <= 80
        if "context" in fields:
            good = good and sentences.size(fields["context"]) >= 3
        good = good or self._has_seed(question)
        explanation = "It is a whole question." if good else "It is no whole question."
        return _judgement("Evaluation", explanation, "Score", str(int(good)))

    def _judge_skill_pair(self, fields: Fields, index: int) -> str:
        ground = f"{fields.get('context', '')} {fields['question']}"
        share = sentences.share(fields["response"], ground)
        score = 3 if share >= SUPPORTED else 2 if share > 0 or "context" not in fields else 1
        if self._is_seed_answer(fields["response"]):
            score = max(score, 2)
        score = score if fields["response"].strip() else 1
        return _judgement("Evaluation", _found(share, "the answer", "the question"), "Score", str(score))

    def _has_seed(self, question: str) -> bool:
        """Whether `question` is a form of a seed's question."""
        return any(seed in question for seed in self._seeds)

    def _is_seed_answer(self, response: str) -> bool:
        return any(response.strip() in answers for answers in self._seeds.values())


def _unknown() -> TeacherError:
    return TeacherError(
        "The embedded teacher knows only the prompts of instructlab-sdg's pipelines, not this one.",
        "Use the pipeline simple or full, or a teacher with a URL.",
        cause="teacher_unknown_prompt",
    )


def _seeds(row: Mapping[str, Any]) -> Iterable[Pair]:
    if row.get("seed_question") and row.get("seed_response"):
        yield Pair(row["seed_question"], row["seed_response"])
    for number in (1, 2, 3):
        question, answer = row.get(f"icl_query_{number}"), row.get(f"icl_response_{number}")
        if question and answer:
            yield Pair(question, answer)


def _pairs(document: str, seeds: list[Pair], names: frozenset[str]) -> list[Pair]:
    """Each question once: seeds that the document supports, then a question for each of its sentences."""
    headings, found = sentences.split(document)
    supported = [seed for seed in seeds if sentences.share(seed.answer, document) >= 0.9]
    pairs = [Pair(seed.question.strip(), seed.answer.strip()) for seed in supported]
    about = f" of {headings[0]}" if headings else ""
    taken = {_normal(pair.question): pair.answer for pair in pairs}
    result = list({_normal(pair.question): pair for pair in pairs}.values())
    for sentence in found:
        question = phrasing.ask(sentence, names)
        if taken.get(_normal(question), sentence) != sentence:
            question = f"How does this sentence{about} go on: {phrasing.beginning(sentence, 6)}?"
        if _normal(question) not in taken:
            taken[_normal(question)] = sentence
            result.append(Pair(question, sentence))
    return result


def _normal(question: str) -> str:
    return " ".join(question.lower().split())


def _multiple_choice(found: list[str]) -> Iterable[str]:
    """A gap in each sentence, filled by its longest word or by those of the next three."""
    found = [sentence for sentence in found if len(sentence.split()) >= 3]
    words = [max(sentence.rstrip(".").split(), key=len).strip(",.;:()\"'") for sentence in found]
    for number, sentence in enumerate(found):
        wrong = [
            word for word in dict.fromkeys(words[number + 1 :] + words[:number]) if word != words[number]
        ][:3]
        if len(wrong) == 3:
            position = hashlib.sha256(sentence.encode()).digest()[0] % 4
            options = [*wrong[:position], words[number], *wrong[position:]]
            listed = "\n".join(f"{letter}) {word}" for letter, word in zip("ABCD", options, strict=True))
            gap = sentence.replace(words[number], "____", 1)
            yield f"[Start of Question]\nWhich word fills the gap? {gap}\n\n{listed}\n[End of Question]"
            yield f"[Start of Answer]\n{'ABCD'[position]}) {words[number]}\n[End of Answer]"


def _found(share: float, part: str, whole: str) -> str:
    return f"{round(100 * share)} % of the content words of {part} are in {whole}."


def _judgement(first: str, explanation: str, second: str, verdict: str) -> str:
    parts = ((first, explanation), (second, verdict))
    return "\n".join(f"[Start of {name}]\n{text}\n[End of {name}]" for name, text in parts)


_HANDLERS: dict[str, Callable[[EmbeddedTeacher, Fields, int], str]] = {
    "simple_generate_qa": EmbeddedTeacher._simple_knowledge,
    "simple_generate_qa_freeform": EmbeddedTeacher._simple_freeform,
    "simple_generate_qa_grounded": EmbeddedTeacher._simple_grounded,
    "generate_questions_responses": EmbeddedTeacher._full_knowledge,
    "spellcheck": EmbeddedTeacher._copy,
    "atomic_facts": EmbeddedTeacher._facts,
    "detailed_summary": EmbeddedTeacher._summary,
    "extractive_summary": EmbeddedTeacher._summary,
    "mcq_generation": EmbeddedTeacher._choices,
    "contexts": EmbeddedTeacher._contexts,
    "freeform_questions": EmbeddedTeacher._questions,
    "grounded_questions": EmbeddedTeacher._questions,
    "freeform_responses": EmbeddedTeacher._responses,
    "grounded_responses": EmbeddedTeacher._responses,
    "evaluate_faithfulness": EmbeddedTeacher._judge_faithfulness,
    "evaluate_relevancy": EmbeddedTeacher._judge_relevancy,
    "evaluate_question": EmbeddedTeacher._judge_question,
    "evaluate_freeform_questions": EmbeddedTeacher._judge_skill_question,
    "evaluate_grounded_questions": EmbeddedTeacher._judge_skill_question,
    "evaluate_freeform_pair": EmbeddedTeacher._judge_skill_pair,
    "evaluate_grounded_pair": EmbeddedTeacher._judge_skill_pair,
}
