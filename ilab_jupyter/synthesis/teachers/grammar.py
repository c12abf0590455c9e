"""The little English grammar that the embedded teacher's questions are made with: word lists and patterns."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any(text: str) -> str:
    """A pattern for one of the words in `text`."""
    return f"(?:{'|'.join(text.split())})"


AUXILIARY = _words("is was are were has have had can must may will")
PRONOUN = _words("it they he she this these those there its their his her we i you")
NOT_SUBJECT = _words("in on at although though while when if until during because however by")
BEFORE_NOUN = _words("a an the to of every all some other most many no its their these")

_TENS = _any("twenty thirty forty fifty sixty seventy eighty ninety")
_UNITS = _any(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen several many"
)
NUMBER = rf"(?:\d[\d,.]*|{_UNITS}|{_TENS}(?:-\w+)?|(?:\w+ )?hundred)"
CLOCK = (
    r"(?:half past \w+|(?:a )?quarter (?:past|to) \w+|noon|midnight|\w+ in the (?:morning|afternoon|evening))"
)
_MONTH = _any("January February March April May June July August September October November December")
DATE = rf"(?:in (?:the \w+ of )?(?:\w+ )?\d{{4}}|on (?:the )?[\w ]+? of {_MONTH}\b.*|in {_MONTH}\b.*)"

_IRREGULAR_PARTICIPLE = _any(
    "taken given driven broken written frozen chosen spoken beaten eaten fallen hidden built made "
    "held kept left lit laid sold told found bought brought taught run cut set worn known grown drawn "
    "shown thrown born spun"
)
PARTICIPLE = rf"(?:\w+ed|{_IRREGULAR_PARTICIPLE})"
ADVERBS = rf"^(?:(?:{_any('also now still often sometimes almost very thus later then not')}|\w+ly) )+"

_VERBS = _words(
    "ask attract begin belong breed bring build burn buy call carry cause choose climb close collect "
    "come connect consist contain control cost cover cross cut drive eat enter feed find fly follow "
    "form function give go grow hang help hold include keep lay lead learn leave let live look lose "
    "make mean meet move need nest occur open own paint pass pay play pour produce protect provide "
    "pull pump push range reach receive replace require rest ring rise roll run sail say see sell "
    "send serve show sing sit sleep sound stand start stay stop store supply support take teach tell "
    "travel try turn use visit wait walk wash wear weigh work write"
)
ALSO_NOUNS = _words(
    "call cause control cost cross cut form function lead look paint pass pay play pump range rest "
    "ring run sail show sound stand start stay stop store supply support travel turn visit wait walk "
    "wash work"
)
_IRREGULAR_PAST = (
    "begin:began bring:brought build:built buy:bought come:came choose:chose drive:drove eat:ate "
    "feed:fed find:found fly:flew give:gave go:went grow:grew hold:held keep:kept lay:laid lead:led "
    "leave:left lose:lost make:made mean:meant meet:met pay:paid run:ran rise:rose say:said see:saw "
    "sell:sold send:sent sing:sang sit:sat sleep:slept stand:stood take:took teach:taught tell:told "
    "wear:wore write:wrote"
)


def _forms() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for verb in sorted(_VERBS):
        y_to_i = re.search(r"[^aeiou]y$", verb) is not None
        past = f"{verb[:-1]}ied" if y_to_i else f"{verb}d" if verb.endswith("e") else f"{verb}ed"
        third = f"{verb[:-1]}ies" if y_to_i else f"{verb}{'es' if re.search('(s|sh|ch|x|o)$', verb) else 's'}"
        found |= {past: ("did", verb), f"{verb}{verb[-1]}ed": ("did", verb)}
        found |= {third: ("does", verb), verb: ("do", verb)}
    pairs = (pair.split(":") for pair in _IRREGULAR_PAST.split())
    return found | {past: ("did", verb) for verb, past in pairs}


# Form of a verb -> (the auxiliary that a question with it needs, the verb itself).
FORMS_OF_VERBS = _forms()

# Verbs that a request may begin with.
REQUEST_VERBS = _VERBS | _words(
    "add analyze analyse arrange calculate check classify combine compare complete compose compute convert "
    "correct count create define describe design determine discuss draft draw edit estimate evaluate explain "
    "expand extract fill finish format generate identify illustrate infer interpret invent join list name "
    "order organize outline paraphrase pick place predict prepare prove put rank rate recommend reduce "
    "rephrase reply reverse rewrite round select separate shorten simplify solve sort spell split state "
    "suggest summarize summarise transform translate verify"
)
