"""Adds indices so that a page of the job list is found without reading other jobs."""

from __future__ import annotations

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Upgrade from version 2. Only indices change."""
    op.drop_index("job_by_owner", "job")
    op.create_index("job_by_owner", "job", ["owner", "seq"])
    op.create_index("job_by_owner_and_state", "job", ["owner", "state", "seq"])
    op.create_index("job_by_owner_and_kind", "job", ["owner", "kind", "state", "seq"])
