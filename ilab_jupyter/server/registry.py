"""Models and datasets on disk, over HTTP."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.wire import DatasetList, ModelList, RowsQuery


class ModelsHandler(IlabHandler):
    """ilab/api/models"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All models. One with a `problem` is damaged."""
        models = self.services.models
        self.answer(ModelList(models=await asyncio.to_thread(models.list, damaged=True)))


class ModelHandler(IlabHandler):
    """ilab/api/models/{name}"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """One model, with its lineage."""
        self.answer(await asyncio.to_thread(self.services.models.get, name))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Remove a model from disk; 409 while a job uses it or an adapter needs it."""
        from ilab_jupyter.client.removal import remove_model

        self.answer(await remove_model(await self.services.jobs(), self.services.models, name))


class DatasetsHandler(IlabHandler):
    """ilab/api/datasets"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All datasets, newest first."""
        self.answer(DatasetList(datasets=await asyncio.to_thread(self.services.datasets.list)))


class DatasetHandler(IlabHandler):
    """ilab/api/datasets/{name}"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """One dataset and its files."""
        self.answer(await asyncio.to_thread(self.services.datasets.get, name))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Remove a dataset from disk; 409 while a job uses it."""
        from ilab_jupyter.client.removal import remove_dataset

        self.answer(await remove_dataset(await self.services.jobs(), self.services.datasets, name))


class RowsHandler(IlabHandler):
    """ilab/api/datasets/{name}/rows"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Some rows of one file, as they are; a client shows them as text."""
        query = self.query_as(RowsQuery)
        datasets = self.services.datasets
        file = query.file or (await asyncio.to_thread(datasets.get, name)).files[0].name
        self.answer(
            await asyncio.to_thread(datasets.preview, name, file, offset=query.offset, limit=query.limit)
        )
