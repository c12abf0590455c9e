"""The tables of the store. Plain SQL types only, so that SQLite and PostgreSQL hold the same."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "4"
# Names of columns in backups of older versions.
RENAMED = {"next_step": "hint"}
SLOTS = {"batch": 1, "serving": 4}
GRACE_SECONDS = 20.0

metadata = MetaData()

# The current state of a job: its spec and the state of its newest attempt. JSON is stored as text.
job = Table(
    "job",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(160), nullable=False, unique=True),
    Column("kind", String(128), nullable=False),
    Column("name", String(200), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("launch", Text, nullable=False),
    Column("key", String(255)),
    Column("spec_hash", String(64), nullable=False),
    Column("queue", String(128), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("rank", Double, comment="Rank among equal priorities if it was moved; seq if NULL."),
    Column("retries", Integer, nullable=False, server_default="0", comment="Consecutive automatic retries."),
    Column("due", Double, comment="Of a retry: earliest start, in seconds since the boot `boot_id`."),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("token", String(64)),
    Column("boot_id", String(64)),
    Column("spawned", Double, comment="Seconds since boot when the supervisor was started."),
    Column("stop_reason", String(32)),
    Column("exit_code", Integer),
    Column("cause", String(64)),
    Column("message", Text),
    Column("hint", Text),
    Column("remedy", Text, comment="Command after `%ilab` for the next step, such as `resume train-abc`."),
    Column("result", Text),
    Column("progress", Text),
    Column("resources", Text, comment="Resources of the spec; NULL if it requests none."),
    Column("seal", String(64), comment="Version and digest of the row; see `row.seal`."),
    UniqueConstraint("owner", "key"),
    sqlite_autoincrement=True,
)
Index("job_by_state", job.c.state, job.c.queue)
# One index for each kind of query in pages.py.
Index("job_by_owner", job.c.owner, job.c.seq)
Index("job_by_owner_and_state", job.c.owner, job.c.state, job.c.seq)
Index("job_by_owner_and_kind", job.c.owner, job.c.kind, job.c.state, job.c.seq)
Index("job_by_cause", job.c.state, job.c.cause, job.c.kind)
Index("job_by_kind", job.c.kind, job.c.state, job.c.ended)

# One row an attempt; its final state is written once and kept when another attempt follows.
attempt = Table(
    "attempt",
    metadata,
    Column("job", String(160), ForeignKey("job.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("token", String(64)),
    Column("started", Double),
    Column("ended", Double),
    Column("exit_code", Integer),
    Column("cause", String(64)),
    Column("message", Text),
    Column("why", String(64), comment="Origin: submitted, resumed, retry, restart, lost."),
    Column("pruned", Double, comment="When its log was removed."),
)

# A device, or a part of its memory, held by a live attempt; deleted in the transaction that ends the attempt.
lease = Table(
    "lease",
    metadata,
    Column("device", String(128), primary_key=True, comment="UUID"),
    Column("job", String(160), ForeignKey("job.id"), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("memory", BigInteger, comment="Bytes; NULL for the whole device."),
)
Index("lease_by_job", lease.c.job)

# The audit log: who changed which job or setting. Rows are added and never changed.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(200), nullable=False),
    Column("detail", Text, nullable=False, comment="JSON object"),
    sqlite_autoincrement=True,
)

setting = Table(
    "setting", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
