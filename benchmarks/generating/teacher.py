"""A teacher's server with the latency of a GPU that decodes a batch, and answers in instructlab-sdg's tags.

The model: `SLOTS` answers are decoded together, others wait in the order they came. A step gives each of them
one token and takes 8 ms plus 0.04 ms for each answer in the batch, as a model of 7 billion parameters in half
precision does on one H100. Reading the prompt takes no time of its own. How long an answer is depends on its
prompt alone, so all who ask get the same work done.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import json
import sys
import time

import tornado.httpserver
import tornado.netutil
import tornado.web

SLOTS = 256
STEP = 0.008
STEP_EACH = 0.00004
QUESTIONS = 3
# (words of a prompt, mean tokens of its answer); lengths go from half to one and a half times the mean
KINDS = (
    ("Return each question between", 120, "questions"),
    ("[Start of Score]", 60, "score"),
    ("", 150, "response"),
)


class Decoder:
    """Time only: `decode(tokens)` returns when that many steps are done."""

    def __init__(self) -> None:
        self._active: list[tuple[float, int, asyncio.Future[None]]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._steps = 0.0
        self._since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.busy = 0.0
        self.tokens = 0

    async def decode(self, tokens: int) -> None:
        """Wait for the last token of an answer."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((tokens, done))
        self._advance()
        await done

    def _advance(self) -> None:
        now = time.monotonic()
        if self._active:
            self._steps += (now - self._since) / self._step()
            self.busy += now - self._since
        self._since = now
        while self._active and self._active[0][0] <= self._steps + 1e-6:
            heapq.heappop(self._active)[2].set_result(None)
        positions = SLOTS - len(self._active)
        for tokens, done in self._waiting[:positions]:
            heapq.heappush(self._active, (self._steps + tokens, next(self._numbers), done))
            self.tokens += tokens
        del self._waiting[:positions]
        if self._timer is not None:
            self._timer.cancel()
        if self._active:
            left = max(0.0, (self._active[0][0] - self._steps) * self._step())
            self._timer = asyncio.get_running_loop().call_later(left, self._advance)

    def _step(self) -> float:
        return STEP + STEP_EACH * len(self._active)


def answer(prompt: str, index: int) -> tuple[str, int]:
    """The text of an answer and how many tokens it takes."""
    digest = hashlib.sha256(f"{index}:{prompt}".encode()).hexdigest()
    _, mean, kind = next(entry for entry in KINDS if entry[0] in prompt)
    tokens = int(mean * (0.5 + int(digest[:8], 16) / 0xFFFFFFFF))
    if kind == "questions":
        questions = (f"What is {digest[8:20]}, part {number}?" for number in range(QUESTIONS))
        return "\n".join(f"[Start of Question]\n{text}\n[End of Question]" for text in questions), tokens
    if kind == "score":
        parts = (("Evaluation", "It is fine."), ("Score", "3" if "3-point scale" in prompt else "1"))
        return "\n".join(f"[Start of {name}]\n{text}\n[End of {name}]" for name, text in parts), tokens
    return f"[Start of Response]\nIt is {digest[20:40]}.\n[End of Response]", tokens


class Completions(tornado.web.RequestHandler):
    """`POST /v1/completions`, with lists of prompts and n."""

    async def post(self) -> None:
        body = json.loads(self.request.body)
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        made = [answer(prompt, index) for prompt in prompts for index in range(body.get("n", 1))]
        decoder: Decoder = self.settings["decoder"]
        await asyncio.gather(*(decoder.decode(tokens) for _, tokens in made))
        choices = [{"index": i, "text": text, "finish_reason": "stop"} for i, (text, _) in enumerate(made)]
        usage = {
            "prompt_tokens": sum(len(prompt.split()) for prompt in prompts),
            "completion_tokens": sum(tokens for _, tokens in made),
        }
        self.write({"id": "x", "object": "text_completion", "choices": choices, "usage": usage})


class Figures(tornado.web.RequestHandler):
    """How long the GPU was busy, and what it generated, since the last call."""

    def get(self) -> None:
        decoder: Decoder = self.settings["decoder"]
        self.write({"busy_s": decoder.busy, "tokens": decoder.tokens})
        decoder.busy, decoder.tokens = 0.0, 0


async def main() -> None:
    routes = [("/v1/completions", Completions), ("/figures", Figures)]
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=1024)
    server = tornado.httpserver.HTTPServer(tornado.web.Application(routes, decoder=Decoder()))
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
