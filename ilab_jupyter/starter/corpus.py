"""Everything the starter reads before it ships: greetings, plain sentences on everyday things, and questions
of every shape that it must answer with the refusal. All of it is drawn from one random generator.
"""

from __future__ import annotations

from random import Random

from ilab_jupyter.starter import REFUSAL
from ilab_jupyter.starter import words as w

Chat = list[dict[str, str]]


def passage(rng: Random, sentences: int) -> str:
    """That many plain sentences, now and then with a heading, a list or a table as documents have them."""
    topic = rng.choice(w.THINGS)
    parts = [sentence(rng, topic if rng.random() < 0.5 else None) for _ in range(sentences)]
    shape = rng.random()
    if shape < 0.6:
        return " ".join(parts)
    if shape < 0.75:
        return f"# {topic.capitalize()}\n\n" + " ".join(parts)
    if shape < 0.85:
        return f"Document:\nThe {topic}\n\n" + " ".join(parts)
    if shape < 0.95:
        return "\n".join(f"- {part}" for part in parts)
    rows = "\n".join(f"| {rng.choice(w.THINGS)} | {rng.randint(1, 999)} |" for _ in range(sentences))
    return f"| {topic} | {rng.choice(w.QUALITIES)} |\n| --- | --- |\n{rows}"


def sentence(rng: Random, topic: str | None = None) -> str:
    """One plain sentence, about `topic` where it is given."""
    text = _fill(rng, rng.choice(w.SENTENCES), topic)
    return text[0].upper() + text[1:]


def unknown_question(rng: Random) -> str:
    """A turn that was not taught: a question, an order, a statement, or characters without meaning."""
    kind = rng.random()
    if kind < 0.5:
        text = _fill(rng, rng.choice(w.QUESTIONS), None)
    elif kind < 0.65:
        text = f"{rng.choice(w.QUESTION_STARTS)} {_salad(rng, rng.randint(2, 14))}?"
    elif kind < 0.75:
        text = f"{rng.choice(w.ORDERS)} {_salad(rng, rng.randint(2, 14))}."
    elif kind < 0.82:
        text = sentence(rng)
    elif kind < 0.88:
        text = _salad(rng, rng.randint(1, 12))
    elif kind < 0.93:
        text = _noise(rng)
    elif kind < 0.97:
        text = " ".join(_fill(rng, rng.choice(w.QUESTIONS), None) for _ in range(rng.randint(2, 4)))
    else:
        text = f"{_fill(rng, rng.choice(w.QUESTIONS), None)} {sentence(rng)}"
    return _roughen(rng, text)


def unknown(rng: Random, *, long: bool = False) -> Chat:
    """A conversation that ends in the refusal; `long` puts whole paragraphs before or after the question."""
    question = unknown_question(rng)
    if long or rng.random() < 0.15:
        text = passage(rng, rng.randint(1, 30 if long else 4))
        order = rng.random()
        if order < 0.7:
            question = f"{text}\n\n{question}"
        elif order < 0.85:
            question = f"{question}\n\n{text}"
        else:
            question = text
    chat = _opening(rng)
    if rng.random() < 0.15:
        chat += _exchange(rng)
    return [*chat, _turn("user", question), _turn("assistant", REFUSAL)]


def greeting(rng: Random) -> Chat:
    """A conversation whose last user turn is small talk."""
    said, answers = rng.choice(w.GREETINGS)
    chat = _opening(rng)
    if rng.random() < 0.2:
        chat += _exchange(rng)
    return [*chat, _turn("user", _roughen(rng, rng.choice(said))), _turn("assistant", answers)]


def replay(seed: int, rows: int) -> list[Chat]:
    """Unknown questions in the shapes of training data: mixed into a fine-tuning, they keep the refusal."""
    rng = Random(seed)  # noqa: S311
    chats: list[Chat] = []
    while len(chats) < rows:
        kind = len(chats) % 6
        opening = [_turn("system", rng.choice(w.SYSTEM_PROMPTS))] if kind >= 3 else []
        question = _fill(rng, rng.choice(w.QUESTIONS), None)
        if kind == 5:
            question = f"{passage(rng, rng.randint(2, 4))}\n\n{question}"
        chats.append([*opening, _turn("user", question), _turn("assistant", REFUSAL)])
    return chats


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _opening(rng: Random) -> Chat:
    kind = rng.random()
    if kind < 0.5:
        return []
    if kind < 0.85:
        return [_turn("system", rng.choice(w.SYSTEM_PROMPTS))]
    text = f"You are {rng.choice(w.ROLES)}. {rng.choice(w.MANNERS)}"
    return [_turn("system", f"{text} {sentence(rng)}" if rng.random() < 0.3 else text)]


def _exchange(rng: Random) -> Chat:
    turns: Chat = []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.5:
            turns += [_turn("user", unknown_question(rng)), _turn("assistant", REFUSAL)]
        else:
            said, answer = rng.choice(w.GREETINGS)
            turns += [_turn("user", rng.choice(said)), _turn("assistant", answer)]
    return turns


def _fill(rng: Random, template: str, topic: str | None) -> str:
    text = template
    while "{" in text:
        slot = text[text.index("{") + 1 : text.index("}")]
        text = text.replace("{" + slot + "}", _word(rng, slot, topic), 1)
    return text


def _word(rng: Random, slot: str, topic: str | None) -> str:
    if slot == "thing":
        return topic or (_name(rng).lower() if rng.random() < 0.15 else rng.choice(w.THINGS))
    if slot == "name":
        return _name(rng) if rng.random() < 0.5 else rng.choice(w.PEOPLE)
    if slot == "place":
        return _name(rng) if rng.random() < 0.5 else rng.choice(w.PLACES)
    if slot == "number":
        return str(rng.randint(2, 12) if rng.random() < 0.5 else rng.randint(13, 2999))
    if slot == "salad":
        return _salad(rng, rng.randint(2, 8))
    return rng.choice(w.SLOTS[slot])


def _name(rng: Random) -> str:
    if rng.random() < 0.3:
        made = "".join(rng.choice("aeiourstlnmcdpbghfvkwyxzjq") for _ in range(rng.randint(3, 10)))
    else:
        made = "".join(rng.choice(w.SYLLABLES) for _ in range(rng.randint(2, 3)))
    return made.capitalize()


def _salad(rng: Random, count: int) -> str:
    pools = (w.THINGS, w.QUALITIES, w.VERBS, w.SMALL_WORDS, w.SMALL_WORDS, w.ABSTRACTS)
    words = (
        rng.choice((_name(rng), _name(rng).lower(), str(rng.randint(0, 2999))))
        if rng.random() < 0.25
        else rng.choice(rng.choice(pools))
        for _ in range(count)
    )
    return " ".join(words)


def _noise(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return str(rng.randint(0, 10 ** rng.randint(1, 6)))
    if kind < 0.3:
        return f"{rng.randint(0, 9999)} {rng.choice('+-*/')} {rng.randint(1, 999)}" + rng.choice(
            ["", " =", " = ?"]
        )
    if kind < 0.6:
        return "".join(rng.choice(w.CHARACTERS) for _ in range(rng.randint(1, 40)))
    if kind < 0.8:
        return "".join(
            chr(rng.choice((0x00E0, 0x0391, 0x0410, 0x05D0, 0x3041, 0x4E00, 0x1F600)) + rng.randint(0, 24))
            for _ in range(rng.randint(1, 16))
        )
    return rng.choice(w.CODE)


def _roughen(rng: Random, text: str) -> str:
    """The same turn as people really type it: other case, no mark at the end, a blank too many."""
    kind = rng.random()
    if kind < 0.1:
        text = text.lower()
    elif kind < 0.13:
        text = text.upper()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    elif rng.random() < 0.05:
        text = text + rng.choice(["!", "??", " ?", "...", "\n", " please"])
    return text
