"""The configuration and the taxonomy over HTTP, through the SDK."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.core.config import Config
from ilab_jupyter.core.taxonomy import Taxonomy, Tree
from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.wire import (
    BaseQuery,
    ChangedLeaf,
    ConfigChange,
    ConfigView,
    FindingList,
    ProfileEntry,
    ProfileList,
    TaxonomyDiff,
)
from ilab_jupyter.taxonomy.finding import shown

LONGEST = 4096  # of a path


class ConfigHandler(IlabHandler):
    """ilab/api/config"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """InstructLab's configuration: its file, its values, and keys without effect."""
        self.answer(_view(await asyncio.to_thread(Config.load)))

    @web.authenticated
    @authorized
    async def patch(self) -> None:
        """Set one value in the file; comments and everything else stay."""
        self.answer(_view(await asyncio.to_thread(_changed, self.body_as(ConfigChange))))


class ProfilesHandler(IlabHandler):
    """ilab/api/config/profiles"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The profiles that a configuration can begin with, each for a kind of machine."""
        found = await asyncio.to_thread(Config.profiles)
        entries = [ProfileEntry(name=one.name, summary=one.summary, values=dict(one.values)) for one in found]
        self.answer(ProfileList(profiles=entries))


class TaxonomyHandler(IlabHandler):
    """ilab/api/taxonomy"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """A taxonomy's leaves in their folders: what each teaches, what is wrong in it and what is new."""
        query = self.query_as(BaseQuery)
        tree: Tree = await asyncio.to_thread(Taxonomy.tree, query.path, query.base)
        self.answer(tree)


class DiffHandler(IlabHandler):
    """ilab/api/taxonomy/diff"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The leaves that have changed since a git revision."""
        query = self.query_as(BaseQuery)
        diff = await asyncio.to_thread(Taxonomy.diff, query.path, query.base)
        self.answer(
            TaxonomyDiff(
                root=shown(str(diff.root), LONGEST),
                base=diff.base,
                commit=diff.commit,
                changes=[
                    ChangedLeaf(
                        file=shown(one.file, LONGEST),
                        kind=one.kind,
                        before=None if one.before is None else shown(one.before, LONGEST),
                    )
                    for one in diff.changes
                ],
                misnamed=[shown(name, LONGEST) for name in diff.misnamed],
            )
        )


class FindingsHandler(IlabHandler):
    """ilab/api/taxonomy/findings"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What is wrong in the leaves that have changed since a git revision; in all without one."""
        query = self.query_as(BaseQuery)
        found = await asyncio.to_thread(Taxonomy.validate, query.path, query.base or "empty")
        self.answer(FindingList(findings=list(found)))


def _changed(change: ConfigChange) -> Config:
    return Config.change(change.key, change.value)


def _view(config: Config) -> ConfigView:
    values: dict[str, Any] = config.get()
    return ConfigView(
        path=str(config.path),
        values=values,
        text=config.show(),
        unused={one.key: one.reason for one in config.unused()},
    )
