"""The sections `general`, `metadata` and `models`."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import Field, field_validator

from ilab_jupyter.configuration.sections.section import PathText, Section

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "WARN", "FATAL", "CRITICAL", "ERROR", "NOTSET")


class General(Section):
    """What all commands share."""

    debug_level: int = Field(default=0, description="How much is logged of debugging, with log_level DEBUG.")
    log_format: str = Field(
        default="%(levelname)s %(asctime)s %(name)s:%(lineno)d: %(message)s",
        description="Form of a line of the log, in the fields of Python's logging.",
    )
    log_level: str = Field(default="INFO", description=f"One of {', '.join(LOG_LEVELS)}.")
    use_legacy_tmpl: bool = Field(default=False, description="The chat template of Granite before 3.0.")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level.upper() not in LOG_LEVELS:
            raise ValueError(f"there is no log level {level!r}; choose one of {', '.join(LOG_LEVELS)}")
        return level.upper()

    @field_validator("log_format")
    @classmethod
    def _format_of_logging(cls, text: str) -> str:
        logging.PercentStyle(text).validate()
        return text


class Metadata(Section):
    """The machine that this file was written for."""

    cpu_info: str | None = Field(default=None, description="Processor, such as Intel CPU or Apple M3 Max.")
    gpu_count: int | None = Field(default=None, description="Number of GPUs.")
    gpu_family: str | None = Field(default=None, description="Family of the GPUs, such as H100.")
    gpu_manufacturer: str | None = Field(default=None, description="Maker of the GPUs, such as Nvidia.")
    gpu_sku: list[str] | None = Field(default=None, description="Variants of the GPU, such as PCIe.")


class CustomModel(Section):
    """One model of the user's own."""

    id: str = Field(description="Name by which commands find it.")
    family: str = Field(description="Family that it belongs to, such as granite.")
    path: PathText = Field(description="Folder, or name on the hub.")
    system_prompt: str | None = Field(default=None, description="First message of every conversation.")

    @field_validator("path", mode="before")
    @classmethod
    def _some_path(cls, path: Any) -> Any:
        if path == "":
            raise ValueError("give a folder, or a name on the hub")
        return path
