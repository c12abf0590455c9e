"""The column `next_step` of a job is called `hint`, as the field of an error."""

from __future__ import annotations

from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """From version 3. The values stay."""
    op.execute("ALTER TABLE job RENAME COLUMN next_step TO hint")
