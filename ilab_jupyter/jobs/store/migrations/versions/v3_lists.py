"""A page of the list of jobs is found without looking at those that are not on it, whatever is asked for."""

from __future__ import annotations

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """From version 2. Nothing but the order in which rows are found."""
    op.drop_index("job_by_owner", "job")
    op.create_index("job_by_owner", "job", ["owner", "seq"])
    op.create_index("job_by_owner_and_state", "job", ["owner", "state", "seq"])
    op.create_index("job_by_owner_and_kind", "job", ["owner", "kind", "state", "seq"])
