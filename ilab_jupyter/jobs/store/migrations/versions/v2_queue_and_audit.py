"""Adds resources, retries and ranks of jobs, leases of devices, the audit log and the seal of a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = None


def upgrade() -> None:
    """Upgrade from version 1. Existing values stay; the origin of an attempt follows from its number."""
    seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    for column in (
        sa.Column("rank", sa.Double, comment="Rank among equal priorities if it was moved; seq if NULL."),
        sa.Column(
            "retries",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="Consecutive automatic retries.",
        ),
        sa.Column(
            "due", sa.Double, comment="Of a retry: earliest start, in seconds since the boot `boot_id`."
        ),
        sa.Column(
            "remedy", sa.Text, comment="Command after `%ilab` for the next step, such as `resume train-abc`."
        ),
        sa.Column("resources", sa.Text, comment="Resources of the spec; NULL if it requests none."),
        sa.Column("seal", sa.String(64), comment="Version and digest of the row; see `row.seal`."),
    ):
        op.add_column("job", column)
    op.drop_index("job_by_owner", "job")
    op.create_index("job_by_owner", "job", ["owner", "seq", "state", "kind"])
    op.create_index("job_by_cause", "job", ["state", "cause", "kind"])
    op.create_index("job_by_kind", "job", ["kind", "state", "ended"])
    op.add_column(
        "attempt",
        sa.Column("why", sa.String(64), comment="Origin: submitted, resumed, retry, restart, lost."),
    )
    op.add_column("attempt", sa.Column("pruned", sa.Double, comment="When its log was removed."))
    op.execute("UPDATE attempt SET why = CASE WHEN n = 1 THEN 'submitted' ELSE 'resumed' END")
    op.create_table(
        "lease",
        sa.Column("device", sa.String(128), primary_key=True, comment="UUID"),
        sa.Column("job", sa.String(160), sa.ForeignKey("job.id"), primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("memory", sa.BigInteger, comment="Bytes; NULL for the whole device."),
    )
    op.create_index("lease_by_job", "lease", ["job"])
    op.create_table(
        "audit",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(200), nullable=False),
        sa.Column("detail", sa.Text, nullable=False, comment="JSON object"),
        sqlite_autoincrement=True,
    )
