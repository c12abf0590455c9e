"""A supervised fine-tuning from arguments to a published model, readable from top to bottom."""

from __future__ import annotations

import math
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import Models
from ilab_jupyter.training import disk, lineage, loading
from ilab_jupyter.training import plan as planning
from ilab_jupyter.training.checkpoints import Checkpoints, step_of
from ilab_jupyter.training.failures import explained
from ilab_jupyter.training.plan import Plan
from ilab_jupyter.training.spec import Settings, TrainingArguments, TrainResult
from ilab_jupyter.training.strategies import strategy

if TYPE_CHECKING:
    from ilab_jupyter.training.tokens import Tally
    from ilab_jupyter.training.trainer import Trainer

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
ADAM_BYTES = 8
FLOAT_BYTES = 4


def train(
    base: str,
    folder: Path,
    arguments: TrainingArguments,
    *,
    job_id: str | None,
    resume: bool,
    reporter: Reporter,
) -> TrainResult:
    """Train the model in `folder` (a checked one, called `base`) and publish the result in the registry.

    With `resume` it continues from the last whole checkpoint of `job_id`. Raises `Stopped`, after saving a
    checkpoint, when the reporter says so, and PublicError for what a person can change; both publish nothing.
    """
    if resume and job_id is None:
        raise InvalidInput("Resuming needs a job id.", "Give the job_id of the training to continue.")
    job = uuid.uuid4().hex[:12] if job_id is None else job_id
    models = Models()
    if resume and (done := lineage.published(models, job)) is not None:
        Checkpoints(job).remove()
        return done
    reporter.phase("preparing", "reading the data")
    checkpoints = Checkpoints(job)
    plan = planning.make(base, folder, arguments, job, models)
    checkpoint = checkpoints.begin(plan.identity(), resume=resume)
    if checkpoints.damaged:
        reporter.warning(
            f"The training continues from step {step_of(checkpoint) if checkpoint else 0}: "
            f"{', '.join(checkpoints.damaged)} {'is' if len(checkpoints.damaged) == 1 else 'are'} damaged.",
            "Files are missing or have another size; check the disk.",
        )
    try:
        with explained(plan.settings, checkpoints.folder):
            _raise_if_stopping(reporter)
            return _train(plan, job, checkpoint, checkpoints, models, reporter)
    finally:
        checkpoints.tidy()


def _train(
    plan: Plan,
    job: str,
    checkpoint: Path | None,
    checkpoints: Checkpoints,
    models: Models,
    reporter: Reporter,
) -> TrainResult:
    started = time.monotonic()
    settings = plan.settings
    reporter.phase("loading", f"{plan.base} for {settings.method} training")
    engine.require("Training", *LIBRARIES)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with engine.importing():
        device = engine.choose_device(settings.device)
        import datasets  # type: ignore[import-untyped]
        from transformers import set_seed
        from transformers.utils import logging as library_log

        from ilab_jupyter.training import examples
        from ilab_jupyter.training import trainer as training

    # Progress goes through the reporter; drawn bars would only fill the log with control characters.
    datasets.disable_progress_bars()
    library_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    _raise_if_stopping(reporter)
    tokenizer = loading.load_tokenizer(plan.folder)
    replay = f" and {len(plan.replay):,} of the model's own replay" if plan.replay else ""
    reporter.phase("preparing", f"{plan.rows:,} rows of the data{replay} to tokens")
    dataset, tally = examples.encode(plan, tokenizer, checkpoints.tokens, reporter)
    # An adapter's first weights are drawn here.
    set_seed(settings.seed)
    way = strategy(settings.method)
    model = way.prepare(loading.load_model(plan.folder, settings.method, device), settings, plan.folder)
    steps = _steps(settings, len(dataset))
    disk.check(
        _need(model, settings), math.ceil(steps / settings.save_steps), checkpoints.folder, models.root
    )
    _raise_if_stopping(reporter)

    trainer = training.build(model, tokenizer, dataset, settings, device, checkpoints, reporter)
    known = f", continuing after step {step_of(checkpoint)}" if checkpoint else ""
    reporter.phase("training", f"{steps} steps on {len(dataset)} examples, on the {device}{known}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _raise_if_stopping(reporter)

    reporter.phase("saving", plan.name)
    with models.staging() as staged:
        way.save(trainer.model, staged.folder, loading.stored_dtype(plan.folder))
        tokenizer.save_pretrained(staged.folder)
        lineage.carry_profile(plan, staged.folder)
        # A model of that name may have come up meanwhile; hours of training are not lost for a name.
        name = models.free_name(plan.name)
        if name != plan.name:
            reporter.warning(f"There is a model {plan.name!r} by now, so this one is called {name!r}.")
        result = _result(
            plan, name, models.root / name, trainer, tally, checkpoint, time.monotonic() - started
        )
        entry = models.publish(staged, name, lineage.describe(plan, job, result))
    checkpoints.remove()
    reporter.artifact("model", entry.name, Path(entry.path))
    return result


def _steps(settings: Settings, examples: int) -> int:
    if settings.max_steps:
        return settings.max_steps
    batches = math.ceil(examples / settings.batch_size)
    return math.ceil(max(math.ceil(batches / settings.gradient_accumulation_steps), 1) * settings.epochs)


def _need(model: Any, settings: Settings) -> disk.Need:
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    weights = trained * FLOAT_BYTES
    return disk.Need(checkpoint=weights + trained * ADAM_BYTES, model=weights)


def _result(
    plan: Plan, name: str, path: Path, trainer: Trainer, tally: Tally, checkpoint: Path | None, seconds: float
) -> TrainResult:
    epoch = float(trainer.state.epoch or 0.0)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    # One step's loss says more about its few examples than about the model.
    losses = [entry["loss"] for entry in logged if entry["epoch"] > epoch - 1]
    return TrainResult(
        model=name,
        path=str(path.absolute()),
        method=plan.settings.method,
        base=plan.base,
        steps=trainer.state.global_step,
        epochs=round(epoch, 4),
        final_loss=sum(losses) / len(losses) if losses else None,
        seconds=round(seconds, 3),
        tokens=trainer.tokens_seen,
        examples=tally.examples,
        truncated=tally.truncated,
        dropped=tally.dropped,
        replay=len(plan.replay),
        files=[str(file) for file in plan.files],
        dataset_hash=plan.dataset_hash,
        resumed_from=step_of(checkpoint) if checkpoint else None,
    )


def _raise_if_stopping(reporter: Reporter) -> None:
    if reporter.stopping:
        raise Stopped("The training was stopped on request.")
