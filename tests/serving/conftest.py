"""Real servers in threads, on the starter, on an adapter, and on a model that never stops talking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ilab_jupyter.client.inference import Endpoint, read_endpoint
from ilab_jupyter.progress import Stopped
from ilab_jupyter.starter import FOLDER
from tests.support.events import EventRecorder
from tests.support.models import SharedFolder

GREETING = [{"role": "user", "content": "Hello!"}]
UNKNOWN = [{"role": "user", "content": "What is the capital of Portugal?"}]


class Running:
    """A server that answers."""

    def __init__(
        self, endpoint: Endpoint, folder: Path, reporter: EventRecorder, thread: threading.Thread
    ) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.reporter = reporter
        self.thread = thread
        self.ended_with: BaseException | None = None

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.endpoint.key}", **options.pop("headers", {})}
        data = body if isinstance(body, bytes) else None
        return httpx.post(
            f"{self.endpoint.url}/{path}",
            content=data,
            json=None if data is not None else body,
            headers=headers,
            timeout=60,
            trust_env=False,
            **options,
        )

    def stop(self) -> None:
        self.reporter.stopping = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextmanager
def serving(
    model: Path,
    folder: Path,
    *,
    name: str,
    max_tokens: int = 4096,
    idle_seconds: float = 60,
    ends_with: type[BaseException] = Stopped,
) -> Iterator[Running]:
    from ilab_jupyter.serving.server import serve

    reporter = EventRecorder()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            serve(
                model,
                name=name,
                port=0,
                max_tokens=max_tokens,
                device="cpu",
                endpoint_file=folder / "endpoint.json",
                reporter=reporter,
                idle_seconds=idle_seconds,
                release_file=folder / "release.json",
            )
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until = time.monotonic() + 60
        while (endpoint := read_endpoint(folder)) is None:
            assert thread.is_alive(), ended
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Running(endpoint, folder, reporter, thread)
    finally:
        reporter.stopping = True
        thread.join(20)
    assert [type(error) for error in ended] == [ends_with]


@pytest.fixture(scope="session", autouse=True)
def _small_and_offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="session")
def starter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(FOLDER, tmp_path_factory.mktemp("job"), name="starter") as running:
        yield running


@pytest.fixture(scope="session")
def babbler(shared_folder: SharedFolder) -> Path:
    """A model of random weights with many positions, which generates up to `max_tokens`."""
    return shared_folder("serving/babbler", make_babbler)


def make_babbler(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=100_000,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    tokenizer.model_max_length = 100_000
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def babbler_server(babbler: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(babbler, tmp_path_factory.mktemp("job"), name="babbler", max_tokens=90_000) as running:
        yield running


@pytest.fixture
def serve_model(tmp_path: Path) -> Callable[..., Any]:
    """Serves any folder for the length of a with block."""

    def start(model: Path, *, name: str = "model", **options: Any) -> Any:
        job = tmp_path / "job"
        job.mkdir(exist_ok=True)
        return serving(model, job, name=name, **options)

    return start
