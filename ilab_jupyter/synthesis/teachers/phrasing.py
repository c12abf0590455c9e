"""Turns a sentence into a question that it answers, and one question into many with the same answer. No
language model.
"""

from __future__ import annotations

import re

from ilab_jupyter.synthesis.teachers import sentences
from ilab_jupyter.synthesis.teachers.grammar import (
    ADVERBS,
    ALSO_NOUNS,
    AUXILIARY,
    BEFORE_NOUN,
    CLOCK,
    DATE,
    FORMS_OF_VERBS,
    NOT_SUBJECT,
    NUMBER,
    PARTICIPLE,
    PRONOUN,
    REQUEST_VERBS,
)

_OPENERS = (
    "{0}",
    "Please tell me: {1}",
    "I would like to know: {1}",
    "Can you answer this: {1}",
    "Here is my question: {1}",
    "A friend asks: {1}",
    "Do you know the answer: {1}",
    "Let me ask you: {1}",
    "Quick question: {1}",
    "One thing I wonder: {1}",
    "Help me with this: {1}",
    "Just to be sure: {1}",
)
_REQUESTS = (
    "Can you {0}?",
    "Could you {0}?",
    "Would you {0}?",
    "Will you {0}?",
    "Could you please {0}?",
    "Can you please {0}?",
    "Would you kindly {0}?",
    "May I ask you to {0}?",
    "Are you able to {0}?",
    "Do you have time to {0}?",
    "Would you be so kind as to {0}?",
    "Is it possible for you to {0}?",
)
_GREETINGS = ("", "Hello. ", "Good morning. ")
FORMS = len(_OPENERS) * len(_GREETINGS)

_FRAMES = (
    "{0}",
    "Please read this. {0}",
    "Here is the text. {0}",
    "The text says: {0}",
    "This is what we know. {0}",
    "Take note of this. {0}",
    "Somebody wrote: {0}",
    "The message reads: {0}",
    "Consider the following. {0}",
    "For your information: {0}",
)


def names_in(text: str) -> frozenset[str]:
    """Words that stand with a capital inside a sentence, so that one at its beginning is known for a name."""
    return frozenset(re.findall(r"(?<=[a-z,;] )[A-Z][\w'-]*", text))


def ask(sentence: str, names: frozenset[str] = frozenset()) -> str:
    """A question that `sentence` answers. Where its grammar is not understood, the question quotes its
    beginning.
    """
    words = sentences.without_point(sentence).replace("?", "").split()
    if words and words[0].lower().strip(",") not in PRONOUN | NOT_SUBJECT:
        for index in range(1, min(len(words) - 1, 10)):
            word, before = words[index].lower(), words[index - 1].lower()
            if before.endswith((",", ";", ":")) or before in ("that", "who", "which"):
                break
            subject = _inside(" ".join(words[:index]), names)
            rest = re.sub(ADVERBS, "", " ".join(words[index + 1 :]))
            if not rest:
                break
            if word in AUXILIARY:
                return _with_auxiliary(word, subject, rest)
            if word in FORMS_OF_VERBS and before not in BEFORE_NOUN and _is_verb(word, rest):
                return _with_verb(*FORMS_OF_VERBS[word], subject, rest)
    return f"How does this go on: {beginning(sentence, 8)}?"


def beginning(sentence: str, most: int) -> str:
    """The first words of a sentence, at most `most` and two thirds of it; characters in a script without
    blanks between words.
    """
    text = sentences.without_point(sentence).replace("?", "")
    if sentences.unspaced(text):
        return text[: max(2, min(4 * most, len(text) * 2 // 3))].strip()
    words = text.split()
    count = min(max(3, min(most, len(words) * 2 // 3)), max(1, len(words) - 1))
    return " ".join(words[:count]).rstrip(",;:")


def _is_verb(word: str, rest: str) -> bool:
    """Many nouns look like verbs; the word after them tells most apart."""
    follower = rest.split()[0].lower()
    if FORMS_OF_VERBS[word][1] in ALSO_NOUNS:
        return (
            re.fullmatch(
                rf"the|a|an|its|his|her|their|for|on|in|at|with|that|beside|near|under|through|{NUMBER}",
                follower,
            )
            is not None
        )
    return follower not in AUXILIARY | {"which", "that", "who"} or word.startswith("mean")


def _with_auxiliary(word: str, subject: str, rest: str) -> str:
    about = f"What is said about {subject}?"
    if word in ("has", "have", "had"):
        helper = {"has": "does", "have": "do", "had": "did"}[word]
        counted = re.match(rf"(?:about |more than )?{NUMBER} (\w+)", rest, re.IGNORECASE)
        if counted and counted.group(1).endswith("s"):
            return f"How many {counted.group(1)} {helper} {subject} have?"
        return about if re.match(rf"been\b|{PARTICIPLE}\b", rest) else f"What {helper} {subject} have?"
    if word in ("can", "must", "may", "will"):
        return about if rest.startswith("be ") else f"What {word} {subject} {rest.split()[0]}?"
    measured = re.match(rf"{NUMBER}[\w\s-]*? (long|high|wide|deep|old|tall|heavy)\b", rest, re.IGNORECASE)
    if measured:
        return f"How {measured.group(1).lower()} {word} {subject}?"
    because = re.match(r"(.{3,60}?) because ", rest)
    if because:
        return f"Why {word} {subject} {because.group(1)}?"
    dated = re.match(rf"({PARTICIPLE}(?: \w+){{0,6}}?) {DATE}", rest)
    if dated and word in ("was", "were"):
        return f"When {word} {subject} {dated.group(1)}?"
    passive = re.match(rf"({PARTICIPLE}) ([\w'-]+)", rest)
    if passive:
        return _with_passive(word, subject, *passive.groups()) or about
    if re.match(r"[A-Z][\w'-]+ [A-Z][\w'-]+(?:,|$)", rest):
        return f"Who {word} {subject}?"
    return (
        f"What {word} {subject}?" if re.match(rf"(?:a|an|the|to|one|[A-Z\"]\w*|{NUMBER})\b", rest) else about
    )


def _with_passive(word: str, subject: str, done: str, follower: str) -> str:
    if follower in ("of", "for", "with", "from", "as", "into"):
        return f"What {word} {subject} {done} {follower}?"
    if follower == "by":
        return f"Who {word} {subject} {done} by?"
    if follower in ("in", "on", "at", "beside", "near", "under", "between"):
        return f"Where {word} {subject} {done}?"
    if follower in ("when", "until", "while", "during"):
        return f"When {word} {subject} {done}?"
    if done in ("named", "called", "given", "asked"):
        return f"What {word} {subject} {done}{' to do' if follower == 'to' else ''}?"
    return f"How {word} {subject} {done}?" if done == "painted" else ""


def _with_verb(helper: str, verb: str, subject: str, rest: str) -> str:
    if verb in ("cost", "weigh"):
        return f"How much {helper} {subject} {verb}?"
    timed = re.match(rf"(.*?)\s*\b(?:at {CLOCK}|{DATE})", rest)
    if timed:
        return f"When {helper} {subject} {verb} {timed.group(1)}".rstrip() + "?"
    follower = rest.split()[0].lower()
    if follower in ("during", "when", "until", "before", "after"):
        return f"When {helper} {subject} {verb}?"
    if follower in ("in", "on", "at", "beside", "near", "under", "between", "through"):
        word = "When" if re.search(r"(day|night|winter|summer|spring|autumn)s?$", rest) else "Where"
        return f"{word} {helper} {subject} {verb}?"
    if follower in ("from", "to", "for", "with", "of", "into", "as"):
        return f"What {helper} {subject} {verb} {follower}?"
    return f"How {helper} {subject} {verb}?" if verb == "travel" else f"What {helper} {subject} {verb}?"


def _inside(text: str, names: frozenset[str] = frozenset()) -> str:
    """`text` as it is written inside a sentence: its first word in lower case, unless that is a name."""
    words = [word.strip("\"'(,") for word in text.split()]
    first = words[0]
    if first in ("The", "A", "An"):
        return text[0].lower() + text[1:]
    is_name = first in names or (len(words) > 1 and words[1][:1].isupper())
    keep = is_name or first == "I" or any(letter.isupper() or letter.isdigit() for letter in first[1:])
    return text if keep else text[0].lower() + text[1:]


def variant(question: str, number: int) -> str:
    """Form `number` of a seed's question or request; forms repeat after FORMS.

    Form 0 is the text as it was written. A plain question or request of one sentence is rephrased; any other
    text, such as one with code or several sentences, follows an opening phrase unchanged.
    """
    text = question.strip()
    if number % FORMS == 0:
        return text
    greeting = _GREETINGS[number // len(_OPENERS) % len(_GREETINGS)]
    opener = _OPENERS[number % len(_OPENERS)]
    bare = text.rstrip(" ,.!:;?")
    if not _is_plain(bare):
        return greeting + opener.format(text, text)
    if text.endswith("?"):
        return greeting + opener.format(f"{bare}?", f"{_inside(bare)}?")
    first = bare.removeprefix("Please ").removeprefix("please ").split()[0].lower()
    if first in REQUEST_VERBS:
        request = re.sub(r"^please,? ", "", _inside(bare))
        return greeting + _REQUESTS[number % len(_REQUESTS)].format(request)
    return greeting + opener.format(text, text)


def _is_plain(bare: str) -> bool:
    """One line and one sentence, without question marks or code inside."""
    inner = re.search(r"[\n?`]|[.!:;]\s", bare)
    return bool(bare) and inner is None


def frame(context: str, number: int) -> str:
    """Form `number` of a context: the same text with other words before it."""
    return _FRAMES[number % len(_FRAMES)].format(context.strip())


def frame_number(context: str, framed: str) -> int:
    """Which form of `context` the text `framed` is; 0 where it is none."""
    return next((number for number in range(len(_FRAMES)) if frame(context, number) == framed.strip()), 0)
