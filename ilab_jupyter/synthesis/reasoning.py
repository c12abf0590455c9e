"""Removes what a reasoning model writes before its answer, in the formats of the common model families."""

from __future__ import annotations

import re

_WORDS = r"think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|inner_monologue|seed:think"

# (opening, closing) tags, as patterns.
_TAGS = (
    (rf"<({_WORDS})(?:\s[^<>]*)?>", r"</\1\s*>"),
    (r"\[(THINK|THINKING|REASONING)\]", r"\[/\1\]"),
    (r"<\|(?:begin_of_thought|START_THINKING)\|>", r"<\|(?:end_of_thought|END_THINKING)\|>"),
    (r"\u25c1think\u25b7", r"\u25c1/think\u25b7"),
)
_BLOCKS = tuple(re.compile(f"{opening}.*?{closing}", re.DOTALL | re.IGNORECASE) for opening, closing in _TAGS)
_OPENING = re.compile("|".join(opening for opening, _ in _TAGS), re.IGNORECASE)
_CLOSING = re.compile(
    rf"</(?:{_WORDS})\s*>|\[/(?:THINK|THINKING|REASONING)\]"
    r"|<\|(?:end_of_thought|END_THINKING)\|>|\u25c1/think\u25b7",
    re.IGNORECASE,
)
# gpt-oss names a channel for each part of its output; only the final one is the answer.
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|channel)\|>|\Z)", re.S
)
_ANSWER_TAGS = (
    re.compile(r"\s*<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>)?\s*", re.DOTALL),
    re.compile(r"\s*<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>)?\s*", re.DOTALL),
    re.compile(r"\s*<answer>(.*?)</answer>\s*", re.DOTALL | re.IGNORECASE),
)


def strip(text: str) -> str | None:
    """`text` without its reasoning; None where the reasoning has no end, so that no answer follows it.

    Where the chat template of the server has written the opening tag, only the closing one is in the text:
    all before it is reasoning.
    """
    if "<|channel|>" in text:
        final = [match[2] for match in _CHANNEL.finditer(text) if match[1] == "final"]
        return final[-1].strip() if final else None
    found = text
    for block in _BLOCKS:
        found = block.sub("", found)
    *_, last = [None, *_CLOSING.finditer(found)]
    if last is not None:
        found = found[last.end() :]
    if _OPENING.search(found):
        return None
    if found != text:
        found = found.strip()
    for tags in _ANSWER_TAGS:
        if inside := tags.fullmatch(found):
            found = inside[1].strip()
    return found
