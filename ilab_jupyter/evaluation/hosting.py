"""Models served during an evaluation: the project's serving engine on loopback, stopped at the end."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilab_jupyter import durable
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.evaluation.answers import of_model
from ilab_jupyter.evaluation.endpoint import Endpoint, probe
from ilab_jupyter.evaluation.settings import JudgeSettings
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import Models

LOOK = 0.05
JUDGE_TOKENS = 2048


class _Quiet:
    """The server's reporter: it discards all events; `stopping` stops the server."""

    stopping = False

    def phase(self, name: str, message: str = "") -> None:
        """Discard the event."""

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        """Discard the event."""

    def artifact(self, kind: str, name: str, path: Path) -> None:
        """Discard the event."""

    def warning(self, message: str, hint: str = "") -> None:
        """Discard the event."""

    def event(self, type: str, **fields: Any) -> None:
        """Discard the event."""


@contextmanager
def hosted(
    folder: Path, *, name: str, max_tokens: int, device: str, reporter: Reporter
) -> Iterator[Endpoint]:
    """Serve the model of a checked folder for the duration of a with block; yield its endpoint.

    Raises the error that keeps the model from loading, and Stopped on a stop request while it loads.
    """
    from ilab_jupyter.serving.server import serve

    quiet, ended = _Quiet(), list[BaseException]()
    with tempfile.TemporaryDirectory(prefix="ilab-evaluation-") as aside:
        file = Path(aside) / "endpoint.json"

        def work() -> None:
            try:
                serve(
                    folder,
                    name=name,
                    port=0,
                    max_tokens=max_tokens,
                    device=device,
                    endpoint_file=file,
                    reporter=quiet,
                )
            except Stopped:
                pass
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work, name=f"serving {name}")
        thread.start()
        try:
            while (address := durable.read_json(file)) is None:
                if not thread.is_alive():
                    raise ended[0] if ended else Stopped
                if reporter.stopping:
                    raise Stopped
                time.sleep(LOOK)
            yield Endpoint(f"http://{address['host']}:{address['port']}/v1", name, str(address["key"]))
        finally:
            quiet.stopping = True
            thread.join()


def ready(judge: JudgeSettings | Endpoint, models: Models, reporter: Reporter) -> Endpoint | Path:
    """Return the endpoint of the judge, with its model's name, or the checked folder of a local judge.

    Called before the student answers, so that a missing judge is reported first.
    """
    if isinstance(judge, JudgeSettings):
        if judge.url is None:
            return models.resolve(judge.model or "")
        key = os.environ.get(judge.api_key_env, "")
        judge = Endpoint(judge.url, judge.model or "", key, judge.timeout)
    name = probe(judge, reporter)
    # The name becomes part of a file name.
    if ".." in name.split("/") or name.startswith("/") or not name.isprintable():
        raise InvalidInput(f"{name[:80]!r} is no model's name.", "Name the judge's model.")
    return replace(judge, model=name)


def named(judge: Endpoint | Path) -> str:
    """Return the identifier under which the answers of this judge are stored and reused."""
    return f"{judge.model} at {judge.url}" if isinstance(judge, Endpoint) else of_model(judge)


@contextmanager
def judging(judge: Endpoint | Path, *, device: str, reporter: Reporter) -> Iterator[Endpoint]:
    """Yield the judge's endpoint; a local judge is served for the duration of the with block."""
    if isinstance(judge, Endpoint):
        yield judge
        return
    reporter.phase("loading", f"the judge {judge.name}")
    with hosted(judge, name="judge", max_tokens=JUDGE_TOKENS, device=device, reporter=reporter) as endpoint:
        yield endpoint


def of_client(client: Any) -> Endpoint:
    """Return the endpoint of an openai client. Raises InvalidInput for an object without `base_url`."""
    url, key = getattr(client, "base_url", None), getattr(client, "api_key", None)
    if url is None:
        raise InvalidInput(
            "This judge is neither an address, nor a model, nor an openai client.",
            "Give the URL of an OpenAI-compatible server, or the name of a local model.",
        )
    return Endpoint(str(url).rstrip("/"), "", str(key or ""))
