"""The section `serve`, which `generate.teacher` has too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictInt, StrictStr

from ilab_jupyter.configuration.sections.chat import chat_model
from ilab_jupyter.configuration.sections.section import PathText, Section

_FAMILY = "Family of the model, which decides on its chat template: granite or mixtral; found out where ''."


class LlamaCpp(Section):
    """Serving with llama.cpp."""

    gpu_layers: int = Field(default=-1, description="Layers that the GPU holds; -1 for all.")
    llm_family: str = Field(default="", description=_FAMILY)
    max_ctx_size: int = Field(default=4096, gt=0, description="Longest prompt and answer, in tokens.")


class Server(Section):
    """Where the model listens."""

    current_max_ctx_size: int = Field(
        default=4096,
        gt=0,
        description="Longest prompt and answer of the served model, in tokens.",
    )
    host: StrictStr = Field(default="127.0.0.1", description="Address to listen on.")
    port: StrictInt = Field(default=8000, ge=0, le=65535, description="Port to listen on.")


class Vllm(Section):
    """Serving with vLLM."""

    gpus: int | None = Field(default=None, description="GPUs to spread the model over.")
    llm_family: str = Field(default="", description=_FAMILY)
    max_startup_attempts: int | None = Field(
        default=120, description="How often to look whether it has started."
    )
    vllm_args: list[str] | None = Field(default=[], description="More arguments for vLLM, each a text.")


class Serve(Section):
    """Serving a model."""

    backend: Literal["vllm", "llama-cpp"] | None = Field(
        default=None, description="vllm or llama-cpp; chosen by the model's files where null."
    )
    chat_template: PathText | None = Field(
        default=None, description="auto, tokenizer, or the path of a Jinja file."
    )
    llama_cpp: LlamaCpp = Field(default_factory=LlamaCpp, description="For llama.cpp.")
    model_path: PathText = Field(default_factory=chat_model, description="Model to serve.")
    server: Server = Field(default_factory=Server, description="Where it listens.")
    vllm: Vllm = Field(default_factory=Vllm, description="For vLLM.")
