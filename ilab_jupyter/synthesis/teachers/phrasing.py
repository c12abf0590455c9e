"""Turns a sentence into a question that it answers, and one question into many with the same answer. No language model."""

from __future__ import annotations

import re

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

_QUESTION_WORD = re.compile(
    r"(?:what|when|where|which|who|whom|whose|why|how|is|are|was|were|do|does|did|can|could|will|would|has|have|had|may|"
    r"should|in what|in which|at what|until when|for how|by whom|to whom|on what|on which)\b",
    re.IGNORECASE,
)
_AUXILIARY = {"is", "was", "are", "were", "has", "have", "had", "can", "must", "may", "will"}
_PRONOUN = {"it", "they", "he", "she", "this", "these", "those", "there", "its", "their", "his", "her", "we", "i", "you"}
_NOT_SUBJECT = {"in", "on", "at", "although", "though", "while", "when", "if", "until", "during", "because", "however", "by"}
_NUMBER = (
    r"(?:\d[\d,.]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty(?:-\w+)?|thirty(?:-\w+)?|forty(?:-\w+)?|fifty(?:-\w+)?|sixty(?:-\w+)?|"
    r"seventy(?:-\w+)?|eighty(?:-\w+)?|ninety(?:-\w+)?|(?:\w+ )?hundred|several|many)"
)
_CLOCK = r"(?:half past \w+|(?:a )?quarter (?:past|to) \w+|noon|midnight|\w+ in the (?:morning|afternoon|evening))"
_DATE = r"(?:in (?:the \w+ of )?(?:\w+ )?\d{4}|on (?:the )?[\w ]+? of (?:January|February|March|April|May|June|July|August|September|October|November|December)\b.*|in (?:January|February|March|April|May|June|July|August|September|October|November|December)\b.*)"

_PARTICIPLE = r"(?:\w+ed|(?:ta|giv|driv|brok|writt|froz|chos|spok|beat|eat|fall|hidd)en|built|made|held|kept|left|lit|laid|sold|told|found|bought|brought|taught|run|cut|set|worn|known|grown|drawn|shown|thrown|born|spun)"
_ADVERBS = r"^(?:(?:also|now|still|often|sometimes|almost|very|thus|later|then|not|\w+ly) )+"
_BEFORE_NOUN = {"a", "an", "the", "to", "of", "every", "all", "some", "other", "most", "many", "no", "its", "their", "these"}
_ALSO_NOUNS = frozenset(
    "call cause control cost cross cut form function lead look paint pass pay play pump range rest ring run sail "
    "show sound stand start stay stop store supply support travel turn visit wait walk wash work".split()
)

_VERBS = (
    "ask attract begin belong breed bring build burn buy call carry cause choose climb close collect come connect consist "
    "contain control cost cover cross cut drive eat enter feed find fly follow form function give go grow hang help hold "
    "include keep lay lead learn leave let live look lose make mean meet move need nest occur open own paint pass pay play "
    "pour produce protect provide pull pump push range reach receive replace require rest ring rise roll run sail say see "
    "sell send serve show sing sit sleep sound stand start stay stop store supply support take teach tell travel try turn "
    "use visit wait walk wash wear weigh work write".split()
)
_PAST = {
    "began": "begin", "brought": "bring", "built": "build", "bought": "buy", "came": "come", "chose": "choose",
    "drove": "drive", "ate": "eat", "fed": "feed", "found": "find", "flew": "fly", "gave": "give", "went": "go",
    "grew": "grow", "held": "hold", "kept": "keep", "laid": "lay", "led": "lead", "left": "leave", "lost": "lose",
    "made": "make", "met": "meet", "paid": "pay", "ran": "run", "rose": "rise", "said": "say", "saw": "see",
    "sold": "sell", "sent": "send", "sang": "sing", "sat": "sit", "slept": "sleep", "stood": "stand", "took": "take",
    "taught": "teach", "told": "tell", "wore": "wear", "wrote": "write",
}  # fmt: skip


def _forms() -> dict[str, tuple[str, str]]:
    """Form -> (auxiliary, lemma)."""
    found: dict[str, tuple[str, str]] = {}
    for verb in _VERBS:
        third = f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else f"{verb}{'es' if re.search('(s|sh|ch|x|o)$', verb) else 's'}"
        past = f"{verb}d" if verb.endswith("e") else f"{verb[:-1]}ied" if re.search(r"[^aeiou]y$", verb) else f"{verb}ed"
        found[past] = ("did", verb)
        found[f"{verb}{verb[-1]}ed"] = ("did", verb)
        found[third] = ("does", verb)
        found[verb] = ("do", verb)
    return found | {past: ("did", verb) for past, verb in _PAST.items()}


_FORMS = _forms()


def names_in(text: str) -> frozenset[str]:
    """Words that stand with a capital inside a sentence, so that one at its beginning is known for a name."""
    return frozenset(re.findall(r"(?<=[a-z,;] )[A-Z][\w'-]*", text))


def ask(sentence: str, names: frozenset[str] = frozenset()) -> str:
    """A question that `sentence` answers. Where its grammar is not understood, the question quotes its beginning."""
    words = sentence.rstrip(" .!\"')").replace("?", "").split()
    if words[0].lower().strip(",") not in _PRONOUN | _NOT_SUBJECT:
        for index in range(1, min(len(words) - 1, 10)):
            word, before = words[index].lower(), words[index - 1].lower()
            if before.endswith((",", ";", ":")) or before in ("that", "who", "which"):
                break
            subject = _inside(" ".join(words[:index]), names)
            rest = re.sub(_ADVERBS, "", " ".join(words[index + 1 :]))
            if not rest:
                break
            if word in _AUXILIARY:
                return _with_auxiliary(word, subject, rest)
            if word in _FORMS and before not in _BEFORE_NOUN and _is_verb(word, rest):
                return _with_verb(*_FORMS[word], subject, rest)
    return f"How does this go on: {' '.join(words[: max(3, min(8, len(words) * 2 // 3))]).rstrip(',;:')}?"


def _is_verb(word: str, rest: str) -> bool:
    """Many nouns look like verbs; the word after them tells most apart."""
    follower = rest.split()[0].lower()
    if _FORMS[word][1] in _ALSO_NOUNS:
        return re.fullmatch(rf"the|a|an|its|his|her|their|for|on|in|at|with|that|beside|near|under|through|{_NUMBER}", follower) is not None
    return follower not in _AUXILIARY | {"which", "that", "who"} or word.startswith("mean")


def _with_auxiliary(word: str, subject: str, rest: str) -> str:
    about = f"What is said about {subject}?"
    if word in ("has", "have", "had"):
        helper = {"has": "does", "have": "do", "had": "did"}[word]
        counted = re.match(rf"(?:about |more than )?{_NUMBER} (\w+)", rest, re.IGNORECASE)
        if counted and counted.group(1).endswith("s"):
            return f"How many {counted.group(1)} {helper} {subject} have?"
        return about if re.match(rf"been\b|{_PARTICIPLE}\b", rest) else f"What {helper} {subject} have?"
    if word in ("can", "must", "may", "will"):
        return about if rest.startswith("be ") else f"What {word} {subject} {rest.split()[0]}?"
    measured = re.match(rf"{_NUMBER}[\w\s-]*? (long|high|wide|deep|old|tall|heavy)\b", rest, re.IGNORECASE)
    if measured:
        return f"How {measured.group(1).lower()} {word} {subject}?"
    because = re.match(r"(.{3,60}?) because ", rest)
    if because:
        return f"Why {word} {subject} {because.group(1)}?"
    dated = re.match(rf"({_PARTICIPLE}(?: \w+){{0,6}}?) {_DATE}", rest)
    if dated and word in ("was", "were"):
        return f"When {word} {subject} {dated.group(1)}?"
    passive = re.match(rf"({_PARTICIPLE}) ([\w'-]+)", rest)
    if passive:
        return _with_passive(word, subject, *passive.groups()) or about
    if re.match(r"[A-Z][\w'-]+ [A-Z][\w'-]+(?:,|$)", rest):
        return f"Who {word} {subject}?"
    return f"What {word} {subject}?" if re.match(rf"(?:a|an|the|to|one|[A-Z\"]\w*|{_NUMBER})\b", rest) else about


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
    timed = re.match(rf"(.*?)\s*\b(?:at {_CLOCK}|{_DATE})", rest)
    if timed:
        return f"When {helper} {subject} {verb} {timed.group(1)}".rstrip() + "?"
    follower = rest.split()[0].lower()
    if follower in ("during", "when", "until", "before", "after"):
        return f"When {helper} {subject} {verb}?"
    if follower in ("in", "on", "at", "beside", "near", "under", "between", "through"):
        return f"{'When' if re.search(r'(day|night|winter|summer|spring|autumn)s?$', rest) else 'Where'} {helper} {subject} {verb}?"
    if follower in ("from", "to", "for", "with", "of", "into", "as"):
        return f"What {helper} {subject} {verb} {follower}?"
    return f"How {helper} {subject} {verb}?" if verb == "travel" else f"What {helper} {subject} {verb}?"


def _inside(text: str, names: frozenset[str] = frozenset()) -> str:
    """`text` as it stands inside a sentence: its first word in lower case, unless that is a name."""
    words = [word.strip("\"'(,") for word in text.split()]
    first = words[0]
    if first in ("The", "A", "An"):
        return text[0].lower() + text[1:]
    is_name = first in names or (len(words) > 1 and words[1][:1].isupper())
    keep = is_name or first == "I" or any(letter.isupper() or letter.isdigit() for letter in first[1:])
    return text if keep else text[0].lower() + text[1:]


def variant(question: str, number: int) -> str:
    """Form `number` of a seed's question or request, always ending in its only question mark; forms repeat after FORMS."""
    text = " ".join(question.split()).replace("?", ",").rstrip(" ,.!:;")
    greeting = _GREETINGS[number // len(_OPENERS) % len(_GREETINGS)]
    if question.rstrip().endswith("?") or _QUESTION_WORD.match(text):
        return greeting + _OPENERS[number % len(_OPENERS)].format(f"{text}?", f"{_inside(text)}?")
    request = re.sub(r"^please,? ", "", _inside(text))
    return greeting + _REQUESTS[number % len(_REQUESTS)].format(request)


def frame(context: str, number: int) -> str:
    """Form `number` of a context: the same text with other words before it."""
    return _FRAMES[number % len(_FRAMES)].format(context.strip())
