"""Table of routes, from which the handlers and the OpenAPI document are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from tornado.web import RequestHandler

from ilab_jupyter.core.taxonomy import Tree
from ilab_jupyter.hardware import Machine
from ilab_jupyter.jobs.record import Job, JobPage, LogChunk, LogMatches, Pruned, QueueState, RemovedJob
from ilab_jupyter.kinds.serve import ServeSpec
from ilab_jupyter.registry.entries import DatasetEntry, DatasetRows, ModelEntry, Removed
from ilab_jupyter.server import (
    deployments,
    docs,
    follow,
    inference,
    info,
    jobs,
    metrics,
    operations,
    registry,
    workspace,
)
from ilab_jupyter.server.base import IlabHandler, UnknownHandler
from ilab_jupyter.server.openai_wire import ChatRequest, CompletionRequest, ServedModel, ServedModelList
from ilab_jupyter.server.stream import StreamSocket
from ilab_jupyter.server.wire import (
    AttemptList,
    AuditList,
    AuditQuery,
    BaseQuery,
    ConfigChange,
    ConfigView,
    DatasetList,
    DeploymentList,
    EventList,
    EventQuery,
    FindingList,
    Health,
    Info,
    JobQuery,
    KindList,
    LogQuery,
    ModelList,
    Move,
    Pause,
    ProfileList,
    Prune,
    RowsQuery,
    SearchQuery,
    Submit,
    TaxonomyDiff,
)


@dataclass(frozen=True)
class Operation:
    """What one verb of a route takes and gives. Its text is the handler method's docstring."""

    answer: type[BaseModel] | None = None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    media: str = "application/json"
    stream: bool = False
    # Further successful answers by status, each with its media type: a log can be a file or a part of one.
    others: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Route:
    """An address below base_url, `{name}` for what varies; `deep`: that may hold slashes."""

    path: str
    handler: type[RequestHandler]
    verbs: dict[str, Operation] = field(default_factory=dict)
    deep: bool = False

    @property
    def pattern(self) -> str:
        """The address as a regular expression. What varies reaches the handler decoded."""
        return "/" + re.sub(r"\\{\w+\\}", "(.+)" if self.deep else "([^/]+)", re.escape(self.path))


ROUTES: tuple[Route, ...] = (
    Route("ilab/api/info", info.InfoHandler, {"get": Operation(Info)}),
    Route("ilab/api/health", info.HealthHandler, {"get": Operation(Health)}),
    Route("ilab/api/system", info.SystemHandler, {"get": Operation(Machine)}),
    Route("ilab/api/kinds", info.KindsHandler, {"get": Operation(KindList)}),
    Route(
        "ilab/api/jobs",
        jobs.JobsHandler,
        {"get": Operation(JobPage, query=JobQuery), "post": Operation(Job, 202, body=Submit)},
    ),
    Route("ilab/api/jobs/{id}", jobs.OneJobHandler, {"get": Operation(Job), "delete": Operation(RemovedJob)}),
    Route("ilab/api/jobs/{id}/cancel", jobs.CancelHandler, {"post": Operation(Job, 202)}),
    Route("ilab/api/jobs/{id}/resume", jobs.ResumeHandler, {"post": Operation(Job, 202)}),
    Route(
        "ilab/api/jobs/{id}/log",
        follow.LogHandler,
        {
            "get": Operation(
                LogChunk, query=LogQuery, stream=True, others=((200, "text/plain"), (206, "text/plain"))
            )
        },
    ),
    Route(
        "ilab/api/jobs/{id}/events",
        follow.EventsHandler,
        {"get": Operation(EventList, query=EventQuery, stream=True)},
    ),
    Route("ilab/api/stream", StreamSocket, {"get": Operation(None, 101)}),
    Route("ilab/api/jobs/{id}/attempts", operations.AttemptsHandler, {"get": Operation(AttemptList)}),
    Route(
        "ilab/api/jobs/{id}/log/search",
        operations.SearchHandler,
        {"get": Operation(LogMatches, query=SearchQuery)},
    ),
    Route("ilab/api/jobs/{id}/move", operations.MoveHandler, {"post": Operation(Job, 202, body=Move)}),
    Route("ilab/api/queue", operations.QueueHandler, {"get": Operation(QueueState)}),
    Route("ilab/api/queue/pause", operations.PauseHandler, {"post": Operation(QueueState, body=Pause)}),
    Route("ilab/api/queue/unpause", operations.UnpauseHandler, {"post": Operation(QueueState)}),
    Route("ilab/api/prune", operations.PruneHandler, {"post": Operation(Pruned, body=Prune)}),
    Route("ilab/api/audit", operations.AuditHandler, {"get": Operation(AuditList, query=AuditQuery)}),
    Route("ilab/api/metrics", metrics.MetricsHandler, {"get": Operation(media="text/plain")}),
    Route("ilab/api/models", registry.ModelsHandler, {"get": Operation(ModelList)}),
    Route(
        "ilab/api/models/{name}",
        registry.ModelHandler,
        {"get": Operation(ModelEntry), "delete": Operation(Removed)},
        deep=True,
    ),
    Route("ilab/api/datasets", registry.DatasetsHandler, {"get": Operation(DatasetList)}),
    Route(
        "ilab/api/datasets/{name}",
        registry.DatasetHandler,
        {"get": Operation(DatasetEntry), "delete": Operation(Removed)},
    ),
    Route(
        "ilab/api/datasets/{name}/rows",
        registry.RowsHandler,
        {"get": Operation(DatasetRows, query=RowsQuery)},
    ),
    Route(
        "ilab/api/config",
        workspace.ConfigHandler,
        {"get": Operation(ConfigView), "patch": Operation(ConfigView, body=ConfigChange)},
    ),
    Route("ilab/api/config/profiles", workspace.ProfilesHandler, {"get": Operation(ProfileList)}),
    Route("ilab/api/taxonomy", workspace.TaxonomyHandler, {"get": Operation(Tree, query=BaseQuery)}),
    Route("ilab/api/taxonomy/diff", workspace.DiffHandler, {"get": Operation(TaxonomyDiff, query=BaseQuery)}),
    Route(
        "ilab/api/taxonomy/findings",
        workspace.FindingsHandler,
        {"get": Operation(FindingList, query=BaseQuery)},
    ),
    Route(
        "ilab/api/deployments",
        deployments.DeploymentsHandler,
        {"get": Operation(DeploymentList), "post": Operation(Job, 202, body=ServeSpec)},
    ),
    Route("ilab/api/deployments/{id}", deployments.DeploymentHandler, {"delete": Operation(Job, 202)}),
    Route("ilab/api/openapi.json", docs.OpenApiHandler, {"get": Operation()}),
    Route("ilab/api/docs", docs.DocsHandler, {"get": Operation(media="text/html")}),
    Route(
        "ilab/api/docs/static/{file}",
        docs.DocsFileHandler,
        {"get": Operation(media="application/octet-stream")},
    ),
    Route("ilab/v1/models", inference.ServedModelsHandler, {"get": Operation(ServedModelList)}),
    Route("ilab/v1/models/{name}", inference.ServedModelHandler, {"get": Operation(ServedModel)}, deep=True),
    Route(
        "ilab/v1/chat/completions",
        inference.ChatHandler,
        {"post": Operation(body=ChatRequest, stream=True)},
    ),
    Route(
        "ilab/v1/completions",
        inference.CompletionsHandler,
        {"post": Operation(body=CompletionRequest, stream=True)},
    ),
)


for _route in ROUTES:
    if issubclass(_route.handler, IlabHandler):
        _route.handler.query_names = {
            verb: frozenset(operation.query.model_fields if operation.query else ())
            for verb, operation in _route.verbs.items()
        }


def handlers() -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """All handlers, the two for unknown addresses last."""
    known: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
        (route.pattern, route.handler, {}) for route in ROUTES
    ]
    return [
        *known,
        (r"/ilab/v1(?:/.*)?", inference.UnknownOpenAIHandler, {}),
        (r"/ilab/api(?:/.*)?", UnknownHandler, {}),
    ]
