"""What every section of config.yaml has in common."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Frozen. A key that is not known is kept, and no number is infinite or none."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_all_defaults(cls, value: Any) -> Any:
        return {} if value is None else value


def _expanded(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 - also for names that are no path


# A place on disk, or a model's name on a hub: `~` and `$VARIABLE` are replaced, as InstructLab does.
PathText = Annotated[str, AfterValidator(_expanded)]
