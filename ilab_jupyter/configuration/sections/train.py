"""The section `train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ilab_jupyter import paths
from ilab_jupyter.configuration.sections.evaluate import JUDGE
from ilab_jupyter.configuration.sections.section import PathText, Section


class AdditionalArgs(Section):
    """Arguments of the trainer itself."""

    deepspeed_cpu_offload_optimizer_pin_memory: bool = Field(
        default=False, description="Keep the offloaded optimizer in memory that is never swapped."
    )
    deepspeed_cpu_offload_optimizer_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Part of the optimizer that is offloaded."
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="Highest learning rate.")
    lora_alpha: float = Field(default=32, gt=0, description="Scale of LoRA.")
    lora_dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout in LoRA.")
    lora_target_modules: list[str] | None = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj"], description="Layers that LoRA adapts."
    )
    nnodes: int = Field(default=1, gt=0, description="Machines that train together.")
    node_rank: int = Field(default=0, ge=0, description="Number of this machine among them.")
    random_seed: int = Field(default=42, ge=0, description="Seed of all that is random.")
    rdzv_endpoint: str = Field(default="127.0.0.1:12222", description="Where the machines meet.")
    rdzv_id: int | str = Field(default=123, description="Name of their meeting.")
    use_dolomite: bool = Field(default=False, description="Train with the Dolomite classes.")
    warmup_steps: int = Field(default=25, ge=0, description="Steps until the highest learning rate.")


class Train(Section):
    """Training a model."""

    additional_args: AdditionalArgs = Field(
        default_factory=AdditionalArgs, description="Arguments of the trainer itself."
    )
    checkpoint_at_epoch: bool = Field(default=True, description="Save a checkpoint after each epoch.")
    ckpt_output_dir: PathText = Field(
        default_factory=lambda: str(paths.checkpoints_dir()), description="Where checkpoints go."
    )
    data_output_dir: PathText = Field(
        default_factory=lambda: str(paths.internal_dir()), description="Where the tokenized data goes."
    )
    data_path: PathText = Field(
        default_factory=lambda: str(paths.datasets_dir()),
        description="JSONL file to train on, or the folder of datasets, whose newest is taken.",
    )
    deepspeed_cpu_offload_optimizer: bool = Field(default=False, description="With DeepSpeed, offload it.")
    device: str = Field(
        default="cpu", pattern=r"^(cpu|mps|hpu|cuda(:\d+)?)$", description="cpu, cuda, mps or hpu."
    )
    disable_flash_attn: bool | None = Field(default=False, description="For GPUs without FlashAttention.")
    distributed_backend: Literal["fsdp", "deepspeed"] = Field(
        default="fsdp", description="How several GPUs share the work: fsdp or deepspeed."
    )
    effective_batch_size: int = Field(default=64, gt=0, description="Examples in one step of the optimizer.")
    fsdp_cpu_offload_optimizer: bool = Field(default=False, description="With FSDP, offload the optimizer.")
    is_padding_free: bool = Field(
        default=False, description="For models that need no padding, such as Granite; not with LoRA."
    )
    lora_quantize_dtype: Literal["nf4"] | None = Field(
        default="nf4", description="nf4 quantizes the frozen weights of LoRA to 4 bits; null leaves them."
    )
    lora_rank: int | None = Field(default=0, ge=0, description="Rank of LoRA; 0 trains the whole model.")
    max_batch_len: int = Field(
        default=5000, gt=0, description="Tokens on one GPU at a time, at least max_seq_len."
    )
    max_seq_len: int = Field(default=4096, gt=0, description="Longest example, in tokens.")
    model_path: PathText = Field(
        default="instructlab/granite-7b-lab", description="Model to train: folder, or name on the hub."
    )
    nproc_per_node: int = Field(default=1, gt=0, description="GPUs to train on.")
    num_epochs: int = Field(default=10, gt=0, description="Times that every example is seen.")
    phased_base_dir: PathText | None = Field(
        default_factory=lambda: str(paths.data_dir() / "phased"), description="Where the two phases work."
    )
    phased_mt_bench_judge: PathText | None = Field(
        default_factory=lambda: str(paths.models_dir() / JUDGE), description="Judge between checkpoints."
    )
    phased_phase1_effective_batch_size: int | None = Field(
        default=128, gt=0, description="Phase 1, knowledge: examples in one step."
    )
    phased_phase1_learning_rate: float = Field(default=2e-5, ge=0, description="Phase 1: learning rate.")
    phased_phase1_num_epochs: int | None = Field(default=7, gt=0, description="Phase 1: epochs.")
    phased_phase1_samples_per_save: int = Field(
        default=0, ge=0, description="Phase 1: examples between checkpoints; 0 for none."
    )
    phased_phase2_effective_batch_size: int | None = Field(
        default=3840, gt=0, description="Phase 2, skills: examples in one step."
    )
    phased_phase2_learning_rate: float = Field(default=6e-6, ge=0, description="Phase 2: learning rate.")
    phased_phase2_num_epochs: int | None = Field(default=10, gt=0, description="Phase 2: epochs.")
    phased_phase2_samples_per_save: int = Field(
        default=0, ge=0, description="Phase 2: examples between checkpoints; 0 for none."
    )
    pipeline: Literal["simple", "full", "accelerated"] = Field(
        default="full", description="simple or full for small machines, accelerated for GPUs."
    )
    save_samples: int = Field(default=250_000, ge=0, description="Examples between checkpoints.")
    training_journal: PathText | None = Field(
        default=None, description="File that says how far the two phases are."
    )
