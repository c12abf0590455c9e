"""Question and answer in one text: labels and markup are removed, and what was joined is split again."""

from __future__ import annotations

import pytest

from ilab_jupyter.synthesis import pairs


@pytest.mark.parametrize(
    "text",
    [
        "How many oars?\nTwo oars.",
        "How many oars? Two oars.",
        "**Question:** How many oars?\n\n**Answer:** Two oars.",
        "**Question**: How many oars?\n**Answer**: Two oars.",
        "**Question:** How many oars? **Answer:** Two oars.",
        "Q: How many oars?\nA: Two oars.",
        "Q1. How many oars?\nA1. Two oars.",
        "### Question\nHow many oars?\n\n### Answer\nTwo oars.",
        "1. **How many oars?**\n\nTwo oars.",
        "## How many oars?\n\nTwo oars.",
        "[QUESTION]\nHow many oars?\n[ANSWER]\nTwo oars.\n[END]",
        "<question>How many oars?</question>\n<answer>Two oars.</answer>",
        "Sure! Here is a question and answer pair:\n\nQuestion: How many oars?\nAnswer: Two oars.",
        "Here is a question and answer pair:\n\nHow many oars?\nTwo oars.",
        "```\nHow many oars?\nTwo oars.\n```",
        '```json\n{"question": "How many oars?", "answer": "Two oars."}\n```',
        "Question 1: How many oars?\nAnswer 1: Two oars.\n\nQuestion 2: Why?\nAnswer 2: To row.",
        "---\nQuestion: How many oars?\n---\nAnswer: Two oars.\n---",
    ],
)
def test_labels_and_markup_around_a_pair_are_removed(text: str) -> None:
    assert pairs.split(text) == ("How many oars?", "Two oars.")


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("What does `a?b` match?\nOne letter.", "What does `a?b` match?", "One letter."),
        ("Joey is 20. How old is Ann? She is 40.", "Joey is 20. How old is Ann?", "She is 40."),
        ("Is it old? Or new?\nOld.", "Is it old? Or new?", "Old."),
        ("Instruction: List two oars.\nOutput: Left, right.", "List two oars.", "Left, right."),
        ("How do I print?\nUse print.\n\nOutput:\nhi", "How do I print?", "Use print.\n\nOutput:\nhi"),
        ("今日は何曜日ですか\uff1f月曜日です。", "今日は何曜日ですか\uff1f", "月曜日です。"),
        ("كم عمر السد؟\nمئة عام.", "كم عمر السد؟", "مئة عام."),
    ],
)
def test_question_ends_where_its_sentence_ends(text: str, question: str, answer: str) -> None:
    assert pairs.split(text) == (question, answer)


@pytest.mark.parametrize(
    "text",
    ["", "It has none.", "How many oars?", "Question: How many oars?", "?", "See http://x/?a=1 there."],
)
def test_text_without_both_gives_no_pair(text: str) -> None:
    assert pairs.split(text) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many oars?", "Two."),
        ("What does this print?\n\n```python\nprint('?')\n```", "A mark."),
        ("Write a note.", "Dear cook."),
        ("Question: what is\n\nit?", "Answer: this"),
        ("Is 5 > 3 ? 'yes' : 'no' valid?", "Yes?\nYes."),
        ("# Is it?\n- a\n- b", "**Answer:** `b`\n---"),
        ("How many oars?", "<answer>Two.</answer>"),
    ],
)
def test_joined_pair_is_split_into_the_same_texts(question: str, answer: str) -> None:
    assert pairs.split(pairs.joined(question, answer)) == (question, answer)
