"""Upgrade of the tables of an older version. Alembic is imported only if an upgrade is needed."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from ilab_jupyter.jobs.store import schema


def upgrade(connection: Connection, version: int) -> None:
    """Upgrade from this version to `schema.VERSION`, in the caller's transaction: all steps or none."""
    scripts = ScriptDirectory(str(Path(__file__).parent))
    steps = {int(script.revision): script for script in scripts.walk_revisions()}
    with Operations.context(MigrationContext.configure(connection)):
        for revision in sorted(steps):
            if version < revision <= int(schema.VERSION):
                steps[revision].module.upgrade()
    connection.execute(
        sa.update(schema.setting).where(schema.setting.c.name == "schema").values(value=schema.VERSION)
    )
