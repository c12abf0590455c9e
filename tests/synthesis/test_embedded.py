"""The embedded teacher: it knows every prompt of instructlab-sdg, and judges by the words that are there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.synthesis.teachers import phrasing, sentences
from ilab_jupyter.synthesis.teachers.embedded import EmbeddedTeacher
from ilab_jupyter.synthesis.teachers.templates import Templates

FIELDS = {
    "task_description": "tell when a thing happens",
    "seed_context": "The shop opens at six.\nIt closes at eight.",
    "seed_question": "When does the shop open?",
    "seed_response": "The shop opens at six.",
    "context": "Please read this. The shop opens at six.\nIt closes at eight.",
    "question": "When does the shop open?",
    "response": "The shop opens at six.",
    "num_samples": 3,
    "domain": "shops",
    "document_outline": "Opening times of shops",
    "document": "Shops\nThe corner shop opens at six in the morning. "
    "The corner shop was built in 1920 by Ada Finch. "
    "Its door is painted in bright yellow colours. Every customer receives a paper lantern.",
    "icl_document": "The mill grinds rye.",
    **{f"icl_query_{n}": f"What does mill {n} grind?" for n in (1, 2, 3)},
    **{f"icl_response_{n}": f"Mill {n} grinds rye." for n in (1, 2, 3)},
}

# Found without an import of instructlab.sdg, which takes seconds in every process that collects this module.
LIBRARY = Path(str(find_spec("instructlab.sdg").origin)).parent  # type: ignore[union-attr]
CONFIGS = sorted(
    (folder, file.stem)
    for folder in ("knowledge", "skills")
    for file in (LIBRARY / "configs" / folder).glob("*.yaml")
)


def rendered(folder: str, config: str, family: str = "merlinite", **fields: Any) -> str:
    """The prompt as instructlab-sdg's own LLMBlock makes it."""
    from instructlab.sdg.blocks.llmblock import template_from_struct_and_config
    from instructlab.sdg.registry import PromptRegistry

    path = LIBRARY / "configs" / folder / f"{config}.yaml"
    struct = "{system}\n{introduction}\n{principles}\n{examples}\n{generation}"
    template = template_from_struct_and_config(struct, yaml.safe_load(path.read_text(encoding="utf-8")))
    prompt = template.render({**FIELDS, **fields}).strip()
    messages = [{"role": "user", "content": prompt}]
    wrapped = PromptRegistry.get_template(family).render(
        messages=messages, prompt=prompt, add_generation_prompt=True
    )
    return str(wrapped).strip()


@pytest.mark.parametrize("family", ["merlinite", "mixtral", "llama", "blank"])
@pytest.mark.parametrize(("folder", "config"), CONFIGS)
def test_every_prompt_of_the_library_is_read_back_exactly(folder: str, config: str, family: str) -> None:
    recognised = Templates().recognise(rendered(folder, config, family))
    assert recognised is not None and recognised.config == config
    assert all(value == str(FIELDS[field]) for field, value in recognised.fields.items())


@pytest.mark.parametrize(("folder", "config"), CONFIGS)
def test_every_prompt_has_tagged_answer(folder: str, config: str) -> None:
    path = LIBRARY / "configs" / folder / f"{config}.yaml"
    block = yaml.safe_load(path.read_text(encoding="utf-8"))
    answer = EmbeddedTeacher().respond(rendered(folder, config), 1)
    assert answer == EmbeddedTeacher().respond(rendered(folder, config), 1)
    assert answer.strip()
    for tag in [*block.get("start_tags", []), *block.get("end_tags", [])]:
        assert tag in answer


def test_multiline_seed_question_is_recognised() -> None:
    question = "Look at this:\n\nx = 1\n\nWhat is x?"
    prompt = rendered("skills", "simple_generate_qa_freeform", seed_question=question)
    recognised = Templates({"seed_question": [question, "Look at this:"]}).recognise(prompt)
    assert recognised is not None
    assert recognised.fields["seed_question"] == question
    assert recognised.fields["seed_response"] == FIELDS["seed_response"]


def test_foreign_prompt_is_refused_with_hint() -> None:
    with pytest.raises(TeacherError) as caught:
        EmbeddedTeacher().respond("Write a poem about tides.")
    assert caught.value.cause == "teacher_unknown_prompt"
    assert "URL" in caught.value.hint


@pytest.mark.parametrize(
    ("response", "verdict"),
    [("The corner shop opens at six.", "YES"), ("Penguins swim in Antarctica.", "NO")],
)
def test_faithfulness_is_judged_by_what_the_document_says(response: str, verdict: str) -> None:
    answer = EmbeddedTeacher().respond(rendered("knowledge", "evaluate_faithfulness", response=response))
    assert f"[Start of Answer]\n{verdict}\n[End of Answer]" in answer


@pytest.mark.parametrize(
    ("question", "score"), [("When does the shop open?", "2"), ("Who feeds the penguins of Antarctica?", "0")]
)
def test_relevancy_is_judged_by_what_question_and_answer_share(question: str, score: str) -> None:
    answer = EmbeddedTeacher().respond(rendered("knowledge", "evaluate_relevancy", question=question))
    assert f"[Start of Score]\n{score}\n[End of Score]" in answer


@pytest.mark.parametrize(
    ("question", "rating"), [("Who built it?", "1"), ("What does the table show?", "0"), ("It is.", "0")]
)
def test_a_question_has_to_stand_alone(question: str, rating: str) -> None:
    answer = EmbeddedTeacher().respond(rendered("knowledge", "evaluate_question", question=question))
    assert f"[Start of Rating]\n{rating}\n[End of Rating]" in answer


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("The first rail was laid on the third of May 1883.", "When was the first rail laid?"),
        ("The founder of the railway was Agnes Tolliver, a merchant.", "Who was the founder of the railway?"),
        ("A coach has twenty-four seats and a stove.", "How many seats does a coach have?"),
        ("Bluebell burns peat bricks instead of coal.", "What does Bluebell burn?"),
        ("The viaduct is one hundred and seven feet high.", "How high is the viaduct?"),
        ("A return ticket costs fourteen crowns.", "How much does a return ticket cost?"),
        (
            "Cairn Top station is closed in winter because of snow.",
            "Why is Cairn Top station closed in winter?",
        ),
        ("They were seen near the old harbour wall.", "How does this go on: They were seen near the?"),
    ],
)
def test_a_sentence_becomes_a_question_that_it_answers(sentence: str, question: str) -> None:
    assert phrasing.ask(sentence, frozenset({"Bluebell"})) == question


WRITTEN = (
    "When does it open?",
    "Write a note for the cook.",
    "What is it? Explain.",
    "What does this print?\n\n```python\nprint('?')\n```",
    "Joey is 20 years old. Ann is twice as old. How old is Ann?",
    "Is 5 > 3 ? 'yes' : 'no' valid Java?",
    "Brezeln!",
)


@pytest.mark.parametrize("seed", WRITTEN)
def test_all_forms_of_a_question_differ(seed: str) -> None:
    forms = [phrasing.variant(seed, number) for number in range(phrasing.FORMS)]
    assert len(set(forms)) == phrasing.FORMS
    assert forms[0] == seed


@pytest.mark.parametrize("seed", WRITTEN[2:])
def test_no_form_changes_a_question_of_several_sentences_or_lines(seed: str) -> None:
    assert all(phrasing.variant(seed, number).endswith(seed) for number in range(phrasing.FORMS))


def test_sentences_are_found_in_markdown_with_abbreviations_lists_and_tables() -> None:
    body = "Dr. Finch saw [a tit](x) in May. It sang twice!\n- A listed bird sings at dawn.\n| a | b |"
    text = f"Birds\nThe *black* cap\n{body}"
    headings, found = sentences.split(text)
    assert headings == ["Birds", "The black cap"]
    assert found == ["Dr. Finch saw a tit in May.", "A listed bird sings at dawn."]
