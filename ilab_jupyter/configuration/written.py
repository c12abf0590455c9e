"""The record of what `init` wrote, beside config.yaml: a value that differs from it was set by the user."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ilab_jupyter.configuration import file
from ilab_jupyter.configuration.sections import Settings
from ilab_jupyter.errors import Unprocessable

MAX_BYTES = 1_000_000


class Written(BaseModel):
    """All values that `init` wrote, and the keys whose values it chose for the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    hardware: frozenset[str]
    settings: Settings

    def encoded(self) -> bytes:
        """The bytes of the record."""
        return f"{json.dumps(self.model_dump(mode='json'), indent=1, ensure_ascii=False)}\n".encode()


def record(path: Path) -> Path:
    """The path of the record that belongs to this configuration file."""
    return path.with_name(f"{path.name}.init.json")


def read(path: Path) -> Written | None:
    """What `init` wrote into this configuration file; None where it was made in another way.

    Unprocessable for a record that is damaged.
    """
    own = record(path)
    try:
        with own.open("rb") as stream:
            return Written.model_validate_json(stream.read(MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file.unusable(error, own) from None
    except ValidationError:
        raise Unprocessable(
            f"{own} is damaged.",
            "Remove it: then every value of the configuration counts as set by you.",
            cause="bad_config",
        ) from None


def write(path: Path, written: Written | None) -> None:
    """Store the record of this configuration file; None removes the one of an earlier file. Unavailable."""
    if written is not None:
        file.write(record(path), written.encoded())
        return
    try:
        record(path).unlink(missing_ok=True)
    except OSError as error:
        raise file.unusable(error, record(path)) from None
