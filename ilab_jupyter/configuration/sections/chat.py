"""The section `chat`."""

from __future__ import annotations

from pydantic import Field

from ilab_jupyter import paths
from ilab_jupyter.configuration.sections.section import PathText, Section


def chat_model() -> str:
    """The model that InstructLab serves and chats with by default."""
    return str(paths.models_dir() / "granite-7b-lab-Q4_K_M.gguf")


class Chat(Section):
    """Chatting with a model."""

    model: PathText = Field(default_factory=chat_model, description="Model to chat with.")
    context: str = Field(
        default="default", description="Name of the system prompt to begin with: default or cli_helper."
    )
    logs_dir: PathText = Field(
        default_factory=lambda: str(paths.data_dir() / "chatlogs"), description="Where chats are logged."
    )
    max_tokens: int | None = Field(
        default=None, description="Longest answer, in tokens; as long as the server allows where null."
    )
    session: PathText | None = Field(default=None, description="File of an earlier chat to go on with.")
    temperature: float = Field(default=1.0, description="0 always takes the likeliest token.")
    vi_mode: bool = Field(default=False, description="Keys of vi.")
    visible_overflow: bool = Field(
        default=True, description="Show answers longer than the screen whole, not cut."
    )
