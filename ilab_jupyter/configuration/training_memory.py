"""Estimate the memory of a training from the sizes of the model, before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["full", "lora", "qlora"]

# Fraction of a device's memory to plan with; the rest is fragmentation and other processes.
USABLE = 0.9

# Bytes for one parameter. Trained: weight, gradient and the two moments of Adam in float32 (ZeRO, Rajbhandari
# et al. 2020, section 3.1). Quantized: 4 bits and 0.127 bits of constants (QLoRA, Dettmers et al. 2023).
TRAINED = 16.0
QUANTIZED = (4 + 0.127) / 8
# A layer keeps 34 x hidden bytes of each token in 16 bits (Korthikanti et al. 2022, section 4.1).
KEPT_IN_LAYER = 34
# Logits in the model's precision, as float32, and their gradient.
LOGITS = 2 + 4 + 4
# Memory of the driver, the libraries' kernels and the interpreter.
CONTEXT = 1e9


@dataclass(frozen=True)
class Student:
    """A model to train, with the sizes of its config.json."""

    name: str
    parameters: float
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


GRANITE_7B = Student("instructlab/granite-7b-lab", 6.74e9, 32, 4096, 11008, 32008)
GRANITE_2B = Student("ibm-granite/granite-3.1-2b-instruct", 2.53e9, 40, 2048, 8192, 49155)
SMOL_1_7B = Student("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1.71e9, 24, 2048, 8192, 49152)
SMOL_360M = Student("HuggingFaceTB/SmolLM2-360M-Instruct", 0.362e9, 32, 960, 2560, 49152)
SMOL_135M = Student("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135e9, 30, 576, 1536, 49152)


@dataclass(frozen=True)
class Estimate:
    """Bytes that a training takes, by purpose."""

    weights: float
    trained: float
    activations: float

    @property
    def total(self) -> float:
        """The sum, including driver and libraries."""
        return self.weights + self.trained + self.activations + CONTEXT

    def __str__(self) -> str:
        parts = (
            (self.weights, "of frozen weights"),
            (self.trained, "of what is trained, with gradients and optimizer"),
            (self.activations, "of activations"),
            (CONTEXT, "of libraries"),
        )
        words = " + ".join(f"{_shown(size)} {what}" for size, what in parts if size)
        return f"{words} = {_shown(self.total)}"


def estimate(student: Student, way: Way, rank: int, tokens: int, *, on_gpu: bool) -> Estimate:
    """The memory for a training with `tokens` on the device at a time; `rank` is LoRA's.

    On a GPU frozen weights are in 16 bits and activations are computed again backwards; on a CPU all is in 32
    bits and kept.
    """
    if way == "full":
        weights, trained = 0.0, student.parameters * TRAINED
    else:
        embeddings = 2 * student.vocabulary * student.hidden
        inner = student.parameters - embeddings
        plain = 2.0 if on_gpu else 4.0
        weights = embeddings * plain + inner * (QUANTIZED if way == "qlora" else plain)
        trained = _adapter(student, rank) * TRAINED
    layer = KEPT_IN_LAYER * student.hidden
    if on_gpu:
        token = student.layers * student.hidden * 2 + layer + student.vocabulary * LOGITS
    else:
        token = 2 * student.layers * layer + student.vocabulary * (LOGITS + 2)
    return Estimate(weights, trained, float(tokens * token))


def _adapter(student: Student, rank: int) -> float:
    """Parameters of LoRA on every linear layer, attention counted as four square ones."""
    attention = 4 * (student.hidden + student.hidden)
    feed_forward = 3 * (student.hidden + student.intermediate)
    return float(rank * student.layers * (attention + feed_forward))


def _shown(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
