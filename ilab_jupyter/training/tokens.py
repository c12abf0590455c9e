"""Conversations as token ids with labels: which tokens the loss counts, under any chat template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.training.data import Conversation
from ilab_jupyter.training.limits import limited

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
# What rendering one conversation may take. Real templates need milliseconds and no memory to speak of.
TEMPLATE_SECONDS = 10.0
TEMPLATE_BYTES = 1_000_000_000
# A text that no template contains or changes.
_PLACEHOLDER = "\ue000answer\ue000"
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendering:
    """A conversation as the model reads it: the text, its tokens, and what of it would be learned.

    `offsets` are the tokens' places in the text, in characters; `labels` the tokens that the loss counts,
    `IGNORED` elsewhere. Nothing is cut yet.
    """

    text: str
    ids: list[int]
    offsets: list[Span]
    labels: list[int]


@dataclass
class Tally:
    """Counts of the encoded conversations."""

    examples: int = 0
    truncated: int = 0
    dropped: int = 0
    longest: int = 0
    without_system: int = 0


class Encoder:
    """Encoder that renders a conversation with the chat template and labels the tokens to learn.

    These are the assistant's turns with the end marks that the template gives them; in an `unmask` row all
    that follows the system prompt. The spans are found by rendering the conversation up to each turn, so the
    template needs no `{% generation %}` marks, and several turns of one conversation are all learned.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        if not tokenizer.chat_template:
            raise Unprocessable(
                "The model has no chat template.",
                "Choose an instruct or chat model, or add chat_template to its tokenizer_config.json.",
            )
        if not tokenizer.is_fast:
            raise Unprocessable(
                "The model has no fast tokenizer.", "Add its tokenizer.json to the model folder."
            )
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.tally = Tally()

    def encode(self, conversation: Conversation) -> Iterator[dict[str, list[int]]]:
        """The examples {input_ids, labels} of a conversation.

        Mostly one. A template that renders earlier turns differently once later ones follow gives one a
        turn; a conversation with no answer left within `max_length` tokens gives none, and is counted.
        """
        for rendering in self.render(conversation):
            length = len(rendering.ids)
            self.tally.longest = max(self.tally.longest, length)
            self.tally.truncated += length > self._max_length
            ids, labels = rendering.ids[: self._max_length], rendering.labels[: self._max_length]
            if all(label == IGNORED for label in labels):
                self.tally.dropped += 1
                continue
            self.tally.examples += 1
            yield {"input_ids": ids, "labels": labels}

    def render(self, conversation: Conversation) -> Iterator[Rendering]:
        """The conversation under the chat template, uncut; see `encode` for when there are several.

        Where the template refuses system prompts, the conversation is rendered without its own, and counted.
        """
        for text, spans in self._without_refused_system(conversation):
            encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids: list[int] = encoded["input_ids"]
            offsets: list[Span] = encoded["offset_mapping"]
            labels = [
                token if any(start < right and left < end for left, right in spans) else IGNORED
                for token, (start, end) in zip(ids, offsets, strict=True)
            ]
            yield Rendering(text, ids, offsets, labels)

    def _without_refused_system(self, conversation: Conversation) -> list[tuple[str, list[Span]]]:
        try:
            return self._rendered(conversation)
        except Unprocessable as refusal:
            if conversation.messages[0]["role"] != "system" or len(conversation.messages) < 2:
                raise
            untrained = frozenset(position - 1 for position in conversation.untrained)
            bare = replace(conversation, messages=conversation.messages[1:], untrained=untrained)
            try:
                rendered = self._rendered(bare)
            except Unprocessable:
                raise refusal from None
            self.tally.without_system += 1
            return rendered

    def _rendered(self, conversation: Conversation) -> list[tuple[str, list[Span]]]:
        messages = list(conversation.messages)
        whole = self._render(conversation, messages)
        if conversation.unmask:
            counted = [(self._end_of_system(conversation, whole), len(whole))]
            for position in sorted(conversation.untrained):
                if messages[position]["role"] == "assistant":
                    counted = _less(counted, self._turn(conversation, messages, position)[1])
            return [(whole, counted)]
        turns = [
            position
            for position, message in enumerate(messages)
            if message["role"] == "assistant" and position not in conversation.untrained
        ]
        rendered = [self._turn(conversation, messages, position) for position in turns]
        if all(whole.startswith(text) for text, _ in rendered):
            return [(whole, [span for _, span in rendered])]
        return [(text, [span]) for text, span in rendered]

    def _turn(
        self, conversation: Conversation, messages: list[dict[str, str]], position: int
    ) -> tuple[str, Span]:
        """The text up to the end of one answer, and the span of the answer in it."""
        text = self._render(conversation, messages[: position + 1])
        if not position:
            return text, (self._header(conversation, messages[0], text), len(text))
        prompt = self._render(conversation, messages[:position], add_generation_prompt=True)
        if not text.startswith(prompt):
            # Some templates add to the prompt what a finished turn leaves out, such as an empty thought.
            prompt = self._render(conversation, messages[:position])
            answer = text.find(messages[position]["content"].strip(), len(prompt))
            if not text.startswith(prompt) or answer < 0:
                raise _unusable(conversation, "does not show where the assistant's answer begins")
            return text, (answer, len(text))
        return text, (len(prompt), len(text))

    def _header(self, conversation: Conversation, message: dict[str, str], text: str) -> int:
        """The start of the answer in a conversation that begins with it."""
        marked = self._render(conversation, [{**message, "content": _PLACEHOLDER}])
        before = marked.find(_PLACEHOLDER)
        if before < 0 or not text.startswith(marked[:before]):
            raise _unusable(conversation, "does not show where the assistant's answer begins")
        return before

    def _end_of_system(self, conversation: Conversation, whole: str) -> int:
        first = conversation.messages[0]
        if first["role"] != "system" or not first["content"]:
            return 0
        position = whole.find(first["content"])
        return position + len(first["content"]) if position >= 0 else 0

    def _render(self, conversation: Conversation, messages: list[dict[str, str]], **options: Any) -> str:
        if not messages:
            return ""
        try:
            with limited(TEMPLATE_SECONDS, TEMPLATE_BYTES):
                return str(self._tokenizer.apply_chat_template(messages, tokenize=False, **options))
        except TimeoutError:
            raise _unusable(conversation, f"takes longer than {TEMPLATE_SECONDS:g} s") from None
        except MemoryError:
            raise _unusable(conversation, f"needs more than {TEMPLATE_BYTES / 1e9:g} GB of memory") from None
        except Exception as error:
            # Templates raise for what they do not support, such as a system prompt.
            raise _unusable(conversation, f"refuses it ({str(error)[:200]})") from None


def _less(spans: list[Span], taken: Span) -> list[Span]:
    """`spans` without the characters of `taken`."""
    left = []
    for start, end in spans:
        left += [(start, min(end, taken[0])), (max(start, taken[1]), end)]
    return [(start, end) for start, end in left if start < end]


def _unusable(conversation: Conversation, why: str) -> Unprocessable:
    roles = [message["role"] for message in conversation.messages if message["role"] != "system"]
    in_turn = all(role == ("user", "assistant")[position % 2] for position, role in enumerate(roles))
    advice = "C" if in_turn else "Let user and assistant take turns, beginning with the user, or c"
    return Unprocessable(
        f"{conversation.file.name}, row {conversation.row}: the model's chat template {why}.",
        f"{advice}hoose a model whose template allows this conversation.",
    )
