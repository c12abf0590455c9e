"""The body of every error of the native API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """An error: a sentence for the user, the next step, and a code for programs."""

    model_config = ConfigDict(frozen=True)

    status: int = Field(description="The HTTP status.")
    code: str = Field(description="The same for every error of this kind, such as not_found.")
    message: str
    hint: str = Field(default="", description="What to do next.")
    request_id: str = Field(
        default="", description="The header X-Request-Id of the response; the server's log has it too."
    )
