"""Chat with a model in this process, one conversation after another, without a server."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

from ilab_jupyter.serving.engine import Engine, Finished, Piece, Sampling
from ilab_jupyter.serving.loading import load


class LocalChat:
    """Loads the model of a folder at once. It is held until `close`."""

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        self._engine = Engine(load(folder, device=device))

    def say(
        self,
        messages: list[dict[str, str]],
        *,
        max_tokens: int,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """The pieces of the answer as they are made; the model's own temperature where None.

        ApiError where the model has no chat template, or the conversation is longer than it takes.
        """
        engine, defaults = self._engine, self._engine.loaded.defaults
        prompt = engine.encode_chat(messages)
        sampling = Sampling(
            max_tokens=min(max_tokens, engine.room(prompt, "messages")),
            temperature=float(defaults.temperature if temperature is None else temperature),
            top_p=defaults.top_p,
            seed=seed,
        )
        pieces: queue.SimpleQueue[Piece | Finished | BaseException] = queue.SimpleQueue()
        ticket = engine.submit(prompt, sampling, pieces.put)
        try:
            while not isinstance(piece := pieces.get(), Finished):
                if isinstance(piece, BaseException):
                    raise piece
                yield piece.text
        finally:
            ticket.cancel()

    def close(self) -> None:
        """Give the memory back."""
        self._engine.close()
