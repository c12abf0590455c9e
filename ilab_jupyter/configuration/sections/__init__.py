"""What InstructLab's config.yaml holds, section by section, version 1.0.0, with its defaults."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from ilab_jupyter.configuration.sections.chat import Chat
from ilab_jupyter.configuration.sections.evaluate import Evaluate
from ilab_jupyter.configuration.sections.general import CustomModel, General, Metadata
from ilab_jupyter.configuration.sections.generate import Generate
from ilab_jupyter.configuration.sections.rag import Rag
from ilab_jupyter.configuration.sections.section import Section
from ilab_jupyter.configuration.sections.serve import Serve
from ilab_jupyter.configuration.sections.train import Train

__all__ = ["VERSION", "Section", "Settings", "fields"]

VERSION = "1.0.0"


class Settings(Section):
    """All sections. A field that the file does not give has InstructLab's default; one more is kept."""

    version: str = Field(
        default=VERSION, pattern=r"^1\.", description="Version of this file's structure; leave it."
    )
    chat: Chat = Field(default_factory=Chat, description="Chatting with a model.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="Benchmarks.")
    general: General = Field(default_factory=General, description="Logging, and what all commands share.")
    generate: Generate = Field(default_factory=Generate, description="Synthetic data from a taxonomy.")
    metadata: Metadata = Field(default_factory=Metadata, description="The machine that this file is for.")
    models: list[CustomModel] = Field(default=[], description="Models of your own, which commands may name.")
    rag: Rag = Field(default_factory=Rag, description="Answers from documents.")
    serve: Serve = Field(default_factory=Serve, description="Serving a model.")
    train: Train = Field(default_factory=Train, description="Training a model.")


def fields(section: Section, above: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every field below `section` that is no section itself, unknown ones included."""
    for name in (*type(section).model_fields, *(section.model_extra or {})):
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from fields(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
