"""What a model's configuration may ask for: a size that some machine has, and patterns that end in time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sre_constants
    import sre_parse

MAX_LAYERS = 1024
MAX_WIDTH = 16_777_216
MAX_PATTERN = 1000
MAX_REPEATS = 6

_LAYERS = re.compile(r"(num|n)_(hidden_|encoder_|decoder_)?layers?|(encoder|decoder)_layers|depth", re.ASCII)
_WIDTHS = re.compile(
    r"(hidden|intermediate|ffn_hidden|moe_intermediate|vocab|embedding)_size|n_(embd|inner|ctx|positions)"
    r"|d_(model|ff|inner)|num_(attention|key_value)_heads|n_heads?|num_(local_)?experts|n_routed_experts",
    re.ASCII,
)
_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "target_parameters")


def size(config: Mapping[str, Any]) -> str | None:
    """What in a model's configuration no model has, such as a million layers; None where nothing."""
    for name, value in _fields(config, 3):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        most = MAX_LAYERS if _LAYERS.fullmatch(name) else MAX_WIDTH if _WIDTHS.fullmatch(name) else None
        if most is not None and not 0 <= value <= most:
            return f"{name} is {str(value)[:40]}, and at most {most:,} is accepted"
    return None


def patterns(config: Mapping[str, Any]) -> str | None:
    """Which regular expression of an adapter's configuration is not accepted, and why; None where none."""
    for name in _PATTERNS:
        if isinstance(value := config.get(name), str) and (why := _slow(value)) is not None:
            return f"{name} {why}"
    for name in ("rank_pattern", "alpha_pattern"):
        for key in value if isinstance(value := config.get(name), dict) else ():
            if (why := _slow(str(key))) is not None:
                return f"{name} {why}"
    return None


def _fields(config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        yield str(name), value
        if depth and isinstance(value, Mapping):
            yield from _fields(value, depth - 1)


def _slow(pattern: str) -> str | None:
    """Why matching the pattern might take for ever, or that it is not one."""
    if len(pattern) > MAX_PATTERN:
        return f"is longer than {MAX_PATTERN:,} characters"
    try:
        parsed = sre_parse.parse(pattern)
    except (re.error, RecursionError, OverflowError, ValueError):
        return f"is not a regular expression: {pattern[:80]!r}"
    if max(_repeats(parsed, 0), default=0) > 1:
        return f"repeats a part that repeats itself, which may take for ever: {pattern[:80]!r}"
    if len(list(_repeats(parsed, 0))) > MAX_REPEATS:
        return f"has more than {MAX_REPEATS} repeated parts: {pattern[:80]!r}"
    return None


def _repeats(parsed: Any, depth: int) -> Iterator[int]:
    """How deep each repetition without a small bound is inside of others, 1 for those that are in none."""
    for operation, argument in parsed:
        inner = depth
        if operation in (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT):
            least, most, body = argument
            # Inside of a repetition an optional part is enough to try each text in many ways.
            if most == sre_constants.MAXREPEAT or most > 16 or (depth and least != most):
                inner += 1
                yield inner
            yield from _repeats(body, inner)
        elif operation is sre_constants.SUBPATTERN:
            yield from _repeats(argument[-1], depth)
        elif operation is sre_constants.BRANCH:
            if depth:
                yield depth + 1
            for branch in argument[1]:
                yield from _repeats(branch, depth)
        elif operation in (sre_constants.ASSERT, sre_constants.ASSERT_NOT):
            yield from _repeats(argument[1], depth)
        elif operation is sre_constants.GROUPREF_EXISTS:
            for branch in argument[1:]:
                yield from _repeats(branch or (), depth)
