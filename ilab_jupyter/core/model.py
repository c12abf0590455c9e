"""SDK: fine-tune, serve, chat with and evaluate a model."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter import engine
from ilab_jupyter.configuration import resolution
from ilab_jupyter.configuration import training_args as upstream
from ilab_jupyter.configuration.arguments import SERVE
from ilab_jupyter.core.config import Config
from ilab_jupyter.core.evaluation import Evaluated
from ilab_jupyter.core.folder import ModelFolder
from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.models import hub
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.training.spec import TrainingArguments, TrainResult

__all__ = ["Model", "TrainResult", "TrainingArguments"]

Source = str | os.PathLike[str]
Paths = Source | Sequence[Source]


class Model(Evaluated, ModelFolder):
    """A student model: a registry name, a model folder, or a hub id, which is fetched when first needed.

    `configuration` is a Config, a mapping of its sections, or the path of a config.yaml: a call takes from
    it what the call itself does not name, in the order of `configuration.resolution`, as a job does. The
    starter model is the default.
    """

    def __init__(
        self,
        student_model: Source | None = None,
        configuration: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> None:
        self.configuration = Config.of(configuration)
        self._notices: tuple[str, ...] = ()
        chosen = student_model
        if not chosen:
            found = resolution.model(self.configuration.resolvable)
            chosen, self._notices = found.arguments["model"], found.notices
        self.student_model = os.fspath(chosen) if isinstance(chosen, os.PathLike) else str(chosen)
        self._local_chats: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Model({self.student_model!r})"

    def train_model(
        self,
        training_args: TrainingArguments | Mapping[str, Any] | object | None = None,
        *,
        data: Paths | None = None,
        job_id: str | None = None,
        resume: bool = False,
        reporter: Reporter | None = None,
    ) -> TrainResult:
        """Fine-tune the model on `data` (messages JSONL files, dataset names); the result is in the registry.

        `training_args` may contain `data` too; the newest dataset is the default. It also takes the names of
        instructlab-training (`num_epochs`, `effective_batch_size`, `lora`, ...) and its TrainingArgs: one
        warning names those without a counterpart, and `model_path` replaces the object's model.

        With `resume`, `job_id`'s last checkpoint is continued. InvalidInput names a wrong argument,
        Unprocessable a wrong row or model; `progress.Stopped` follows a checkpoint when the reporter asks to
        stop.
        """
        from ilab_jupyter.training.run import train

        reporter = reporter if reporter is not None else ConsoleReporter()
        translated = _translated(training_args)
        model = translated.model or self.student_model
        arguments = self._arguments(translated.arguments, data, model)
        for notice in filter(None, (*(self._notices if not translated.model else ()), translated.warning)):
            reporter.warning(notice)
        folder = hub.obtain(model, Models(), reporter)
        return train(model, folder, arguments, job_id=job_id, resume=resume, reporter=reporter)

    def serve(
        self,
        *,
        name: str | None = None,
        port: int | None = None,
        max_tokens: int = 4096,
        device: str = "auto",
        endpoint_file: Path | None = None,
        idle_seconds: float = 60,
        release_file: Path | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        """Answer OpenAI requests on a loopback port until the reporter requests a stop.

        While `release_file` exists, another job waits for the memory of this one: after `idle_seconds`
        without a request the server ends with Unavailable, cause `preempted`.

        `name` is the model's name in the API, its registry name or its folder's where None. Port 0 takes a
        free one; the address is written to `endpoint_file`. `max_tokens` bounds one answer.
        """
        if port is None:
            port = self.configuration.resolvable.arguments(SERVE).get("port", 0)
        if not 0 <= port <= 65535:
            raise InvalidInput(
                f"There is no port {port}.", "Choose one from 1 to 65535, or 0 for a free one."
            )
        from ilab_jupyter.serving.server import serve

        reporter = reporter if reporter is not None else ConsoleReporter()
        folder = hub.obtain(self.student_model, Models(), reporter)
        serve(
            folder,
            name=name or self._served_name(folder),
            port=port,
            max_tokens=max_tokens,
            device=device,
            endpoint_file=endpoint_file,
            idle_seconds=idle_seconds,
            release_file=release_file,
            reporter=reporter,
        )

    def chat(
        self,
        messages: str | Sequence[Mapping[str, str]],
        *,
        system: str | None = None,
        max_tokens: int = 512,
        temperature: float | None = None,
        seed: int | None = None,
        device: str = "auto",
        tell: Callable[[str], object] | None = None,
    ) -> str:
        """Answer a question, or a conversation of `{"role", "content"}` turns.

        The model is loaded into this process at the first call and kept as long as this object; no server is
        needed. `tell` receives each piece of the answer as it is generated. `temperature` is the model's own
        where None; 0 always takes the most likely token.

        InvalidInput for an invalid conversation, ApiError where the model has no chat template or the
        conversation is longer than its context.
        """
        turns = _turns(messages, system)
        if max_tokens < 1 or (temperature is not None and not 0 <= temperature <= 2):
            raise InvalidInput("max_tokens is at least 1, temperature from 0 to 2.", "Change them.")
        if (found := self._local_chats.get(device)) is None:
            engine.require("Chat", "torch", "transformers")
            from ilab_jupyter.serving.local_chat import LocalChat

            folder = hub.obtain(self.student_model, Models(), ConsoleReporter())
            found = self._local_chats[device] = LocalChat(folder, device=device)
            weakref.finalize(self, found.close)
        pieces = []
        for piece in found.say(turns, max_tokens=max_tokens, temperature=temperature, seed=seed):
            pieces.append(piece)
            if tell is not None:
                tell(piece)
        return "".join(pieces)

    def _served_name(self, folder: Path) -> str:
        """The model's name for clients, which do not get its path."""
        return folder.name if Path(self.student_model).is_absolute() else self.student_model

    def _arguments(
        self, given: Mapping[str, Any], data: Paths | None, model: str | None = None
    ) -> TrainingArguments:
        found = resolution.training(model or self.student_model, given, self.configuration.resolvable)
        values = dict(found.arguments)
        if data is not None:
            items = [data] if isinstance(data, str | os.PathLike) else data
            values["data"] = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in items]
        if not values.get("data") and (newest := Datasets().newest()) is not None:
            values["data"] = [newest.name]
        try:
            return TrainingArguments.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(
                f"{wrong_field(error.errors()[0])}.",
                f"Arguments are: {', '.join(TrainingArguments.model_fields)}.",
            ) from None


def _translated(given: TrainingArguments | Mapping[str, Any] | object | None) -> upstream.Translated:
    """The arguments in `given` by our names; InvalidInput for what has no arguments."""
    if given is None:
        return upstream.Translated({})
    if isinstance(given, TrainingArguments):
        return upstream.Translated(given.model_dump(exclude_unset=True))
    if isinstance(given, Mapping):
        return upstream.translate(given)
    if upstream.is_training_args(given):
        return upstream.translate(upstream.from_object(given))
    raise InvalidInput(
        f"training_args is of type {type(given).__name__}.",
        "Give a mapping of arguments, or a TrainingArgs of instructlab-training.",
    )


def _turns(messages: str | Sequence[Mapping[str, str]], system: str | None) -> list[dict[str, str]]:
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
    for number, turn in enumerate(turns, 1):
        said = turn.get("content") if isinstance(turn, Mapping) else None
        if not isinstance(said, str) or turn.get("role") not in ("system", "user", "assistant"):
            raise InvalidInput(
                f"Turn {number} is not a message.",
                'Give a question, or turns such as {"role": "user", "content": "..."}.',
            )
    if not turns:
        raise InvalidInput("There is no question.", "Give one, or a conversation that ends in one.")
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, *({"role": turn["role"], "content": turn["content"]} for turn in turns)]
