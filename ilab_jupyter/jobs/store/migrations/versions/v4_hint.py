"""Renames the column `next_step` of a job to `hint`."""

from __future__ import annotations

from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Upgrade from version 3. The values stay."""
    op.execute("ALTER TABLE job RENAME COLUMN next_step TO hint")
