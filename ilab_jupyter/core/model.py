"""SDK: fine-tune a model and serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.registry import Models
from ilab_jupyter.training import hub
from ilab_jupyter.training.spec import TrainingArguments, TrainResult

__all__ = ["Model", "TrainResult", "TrainingArguments"]

Paths = str | Path | Sequence[str | Path]


class Model:
    """A student model: a registry name, a model folder, or a hub id, which is fetched when first needed.

    `configuration` may hold `train`, arguments of `train_model` to take where a call names none.
    """

    def __init__(
        self, student_model: str | Path = "starter", configuration: Mapping[str, Any] | None = None
    ) -> None:
        self.student_model = str(student_model)
        self.configuration = dict(configuration or {})

    def train_model(
        self,
        training_args: TrainingArguments | Mapping[str, Any] | None = None,
        *,
        data: Paths | None = None,
        job_id: str | None = None,
        resume: bool = False,
        reporter: Reporter | None = None,
    ) -> TrainResult:
        """Fine-tune the model on `data` (messages JSONL files, dataset names); the result is in the registry.

        `data` may also stand in `training_args`. With `resume`, `job_id`'s last checkpoint is continued.
        InvalidInput names a wrong argument, Unprocessable a wrong row or model; `progress.Stopped` follows a
        checkpoint when the reporter asks to stop.
        """
        from ilab_jupyter.training.run import train

        arguments = self._arguments(training_args, data)
        told = reporter if reporter is not None else ConsoleReporter()
        folder = hub.obtain(self.student_model, Models(), told)
        return train(self.student_model, folder, arguments, job_id=job_id, resume=resume, reporter=told)

    def serve(
        self,
        *,
        name: str | None = None,
        port: int = 0,
        max_tokens: int = 4096,
        device: str = "auto",
        endpoint_file: Path | None = None,
        idle_seconds: float = 60,
        release_file: Path | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        """Answer OpenAI requests on a loopback port until the reporter asks to stop.

        While `release_file` exists, something waits for what this model has: once nobody has asked for
        `idle_seconds`, it makes room, and that is an Unavailable with cause `preempted`.

        `name` is what the API calls the model, its registry name or its folder's where None. Port 0 takes a
        free one; where it listens is written to `endpoint_file`. `max_tokens` bounds one answer.
        """
        if not 0 <= port <= 65535:
            raise InvalidInput(
                f"There is no port {port}.", "Choose one from 1 to 65535, or 0 for a free one."
            )
        from ilab_jupyter.serving.server import serve

        told = reporter if reporter is not None else ConsoleReporter()
        folder = hub.obtain(self.student_model, Models(), told)
        serve(
            folder,
            name=name or self._served_name(folder),
            port=port,
            max_tokens=max_tokens,
            device=device,
            endpoint_file=endpoint_file,
            idle_seconds=idle_seconds,
            release_file=release_file,
            reporter=told,
        )

    def _served_name(self, folder: Path) -> str:
        """A path would tell every client where the model lies."""
        return folder.name if Path(self.student_model).is_absolute() else self.student_model

    def _arguments(
        self, given: TrainingArguments | Mapping[str, Any] | None, data: Paths | None
    ) -> TrainingArguments:
        values: dict[str, Any] = dict(self.configuration.get("train") or {})
        if isinstance(given, TrainingArguments):
            values.update(given.model_dump(exclude_unset=True))
        elif given is not None:
            values.update(given)
        if data is not None:
            values["data"] = [str(item) for item in ([data] if isinstance(data, str | Path) else data)]
        try:
            return TrainingArguments.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(
                f"{wrong_field(error.errors()[0])}.",
                f"Arguments are: {', '.join(TrainingArguments.model_fields)}.",
            ) from None
