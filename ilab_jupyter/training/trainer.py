"""TRL's SFTTrainer without downloads and external reporting; each step is reported as an event."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.progress import Reporter
from ilab_jupyter.training.checkpoints import Checkpoints
from ilab_jupyter.training.disk import KEPT
from ilab_jupyter.training.spec import Settings

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments

WINDOW = 20


class Trainer(SFTTrainer):
    """Trainer that counts its tokens and stops at a loss that is NaN or infinite."""

    tokens_seen = 0

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """One forward and backward pass; Unprocessable (cause nan_loss) where the loss is NaN or infinite."""
        self.tokens_seen += int(inputs["attention_mask"].sum())
        loss: torch.Tensor = super().training_step(  # type: ignore[no-untyped-call]
            model, inputs, *args, **kwargs
        )
        if not torch.isfinite(loss):
            raise _no_number("loss", float(loss), self.state.global_step, self.args.learning_rate)
        return loss


def _no_number(what: str, value: float, step: int, rate: float) -> Unprocessable:
    return Unprocessable(
        f"The {what} became {value} after step {step}.",
        f"Train with a smaller learning_rate (try {rate / 10:g}, not {rate:g}) or with warmup_steps.",
        cause="nan_loss",
    )


class Reporting(TrainerCallback):
    """Callback that reports events, seals checkpoints, and stops the trainer on request."""

    def __init__(self, reporter: Reporter, checkpoints: Checkpoints) -> None:
        self._reporter = reporter
        self._checkpoints = checkpoints
        self._trainer: Trainer | None = None
        self._times: deque[tuple[float, int, int]] = deque(maxlen=WINDOW)

    def attach(self, trainer: Trainer) -> None:
        """Read token counts from this trainer."""
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._mark(state)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop at a gradient that is NaN or infinite, even if the loss is finite."""
        assert self._trainer is not None and self._trainer.model is not None
        gradients = [weight.grad for weight in self._trainer.model.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise _no_number("gradient", float(norm), state.global_step, args.learning_rate)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._reporter.stopping:
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        self._mark(state)
        (start, first_step, first_tokens), (now, step, tokens) = self._times[0], self._times[-1]
        seconds = max(now - start, 1e-9)
        metrics: dict[str, Any] = {
            "epoch": round(float(state.epoch or 0.0), 4),
            "loss": float(logs["loss"]),
            "learning_rate": float(logs.get("learning_rate", 0.0)),
            "grad_norm": float(logs.get("grad_norm", 0.0)),
            "tokens_per_second": (tokens - first_tokens) / seconds,
            "eta_seconds": (state.max_steps - step) * seconds / max(step - first_step, 1),
        }
        if torch.cuda.is_available() and args.device.type == "cuda":
            metrics["gpu_memory"] = torch.cuda.max_memory_allocated()
        self._reporter.progress(state.global_step, state.max_steps, **metrics)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        folder = self._checkpoints.seal(state.global_step)
        self._reporter.artifact("checkpoint", folder.name, folder)

    def _mark(self, state: TrainerState) -> None:
        tokens = self._trainer.tokens_seen if self._trainer is not None else 0
        self._times.append((time.monotonic(), state.global_step, tokens))


def build(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    settings: Settings,
    device: str,
    checkpoints: Checkpoints,
    reporter: Reporter,
) -> Trainer:
    """Build the trainer for tokenized and labelled examples."""
    callback = Reporting(reporter, checkpoints)
    cuda = device == "cuda"
    # On by default in TRL; on a CPU it only costs time. transformers has renamed the argument.
    renamed = "activation_checkpointing" in SFTConfig.__dataclass_fields__
    memory: Any = {"activation_checkpointing" if renamed else "gradient_checkpointing": cuda}
    config = SFTConfig(
        **memory,
        output_dir=str(checkpoints.folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_length=settings.max_seq_length,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=not cuda,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        packing=False,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=KEPT,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=cuda,
        disable_tqdm=True,
        report_to="none",
        push_to_hub=False,
    )
    if config.n_gpu > 1:
        # One job trains on one GPU; the trainer would spread over every visible one, which TRL refuses.
        config._n_gpu = 1
    trainer = Trainer(
        model=model, args=config, train_dataset=dataset, processing_class=tokenizer, callbacks=[callback]
    )
    trainer.remove_callback(PrinterCallback)
    callback.attach(trainer)
    return trainer
