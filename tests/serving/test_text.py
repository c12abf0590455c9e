"""Pieces of a streamed answer add up to the answer, whatever the tokens and the stop strings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ilab_jupyter.serving.text import TextStream


def byte_decode(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


def whole(text: str, stops: list[str]) -> str:
    positions = [position for stop in stops if (position := text.find(stop)) >= 0]
    return text[: min(positions)] if positions else text


def streamed(text: str, stops: list[str]) -> tuple[str, bool, list[str]]:
    stream = TextStream(byte_decode, stops)
    pieces = []
    for byte in text.encode():
        pieces.append(stream.add(byte))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    return "".join(pieces), stream.stopped, pieces


@given(
    st.text(alphabet="abßä日🙂 ", max_size=30),
    st.lists(st.text(alphabet="abä🙂", min_size=1, max_size=4), max_size=3),
)
def test_pieces_form_text_before_first_stop_string(text: str, stops: list[str]) -> None:
    seen, stopped, _ = streamed(text, stops)
    met = any(stop in text for stop in stops)
    assert stopped == met
    # Of overlapping stop strings the one whose last character comes first ends the answer.
    assert seen == whole(text, stops) or (met and whole(text, stops) == seen[: len(whole(text, stops))])


def test_a_character_of_several_tokens_comes_whole() -> None:
    _, _, pieces = streamed("a🙂b", [])
    assert [piece for piece in pieces if piece] == ["a", "🙂", "b"]


def test_possible_stop_string_is_held_back_until_decided() -> None:
    stream = TextStream(byte_decode, ["END"])
    shown = [stream.add(byte) for byte in b"xENEND!"]
    assert shown[:3] == ["x", "", ""]
    assert "".join(shown) == "xEN"
    assert stream.stopped


def test_unfinished_stop_string_at_end_is_kept() -> None:
    assert streamed("x E", ["END"])[0] == "x E"


def test_incomplete_characters_are_shown_at_end() -> None:
    stream = TextStream(byte_decode, [])
    assert stream.add(0xF0) == ""
    assert stream.finish() == "\N{REPLACEMENT CHARACTER}"
