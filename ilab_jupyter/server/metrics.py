"""The figures of the service in Prometheus' text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from tornado import web

from ilab_jupyter.hardware import Gpu
from ilab_jupyter.jobs.distribution import Distribution
from ilab_jupyter.jobs.statistics import Figures
from ilab_jupyter.server.base import IlabHandler

if TYPE_CHECKING:
    from ilab_jupyter.server.services import Services


class MetricsHandler(IlabHandler):
    """ilab/api/metrics"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Figures for Prometheus; its `authorization` carries the Jupyter token."""
        text = await exposition(self.services)
        self.finish(text, set_content_type=CONTENT_TYPE_PLAIN_0_0_4)


async def exposition(services: Services) -> bytes:
    """All figures as text. Raise Unavailable where the store cannot be read."""
    jobs = await services.jobs()
    figures = await asyncio.to_thread(jobs.statistics)
    machine = await services.machine.now()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*_jobs(figures), *_gpus(machine.gpus, figures), *_server(services)]))
    return generate_latest(registry)


class _Collected(Collector):
    """What was collected already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Give it to the registry."""
        yield from self._metrics


def _jobs(figures: Figures) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "ilab_jobs", "Jobs in the store, of all owners.", labels=["state", "cause", "kind"]
    )
    for (state, cause, kind), count in sorted(figures.jobs.items()):
        jobs.add_metric([state, cause, kind], count)
    yield jobs
    waiting = GaugeMetricFamily("ilab_queue_waiting", "Jobs that wait in a queue.", labels=["queue"])
    for queue, count in sorted({"batch": 0, "serving": 0, **figures.waiting}.items()):
        waiting.add_metric([queue], count)
    yield waiting
    wait = HistogramMetricFamily(
        "ilab_queue_wait_seconds", "From submission to the start of the first attempt.", labels=["kind"]
    )
    for kind, distribution in sorted(figures.wait.items()):
        wait.add_metric([kind], *_buckets(distribution))
    yield wait
    work = HistogramMetricFamily(
        "ilab_job_seconds", "From the start of an attempt to its end.", labels=["kind", "state"]
    )
    for (kind, state), distribution in sorted(figures.work.items()):
        work.add_metric([kind, state], *_buckets(distribution))
    yield work
    yield GaugeMetricFamily(
        "ilab_log_bytes", "Size of the logs of live attempts.", value=float(figures.log_bytes)
    )


def _gpus(gpus: list[Gpu], figures: Figures) -> Iterator[Metric]:
    use = GaugeMetricFamily("ilab_gpu_utilization_ratio", "Use of a GPU, 0 to 1.", labels=["uuid"])
    used = GaugeMetricFamily("ilab_gpu_memory_used_bytes", "Memory in use on a GPU.", labels=["uuid"])
    total = GaugeMetricFamily("ilab_gpu_memory_total_bytes", "Memory of a GPU.", labels=["uuid"])
    leased = GaugeMetricFamily("ilab_gpu_leased", "Jobs that have a GPU or a part of it.", labels=["uuid"])
    for gpu in gpus:
        if gpu.utilization is not None:
            use.add_metric([gpu.uuid], gpu.utilization / 100)
        used.add_metric([gpu.uuid], gpu.memory_used)
        total.add_metric([gpu.uuid], gpu.memory_total)
    for uuid in sorted({*figures.leased, *(gpu.uuid for gpu in gpus)}):
        leased.add_metric([uuid], figures.leased.get(uuid, 0))
    yield from (use, used, total, leased)


def _server(services: Services) -> Iterator[Metric]:
    yield GaugeMetricFamily("ilab_streams_open", "Live streams.", value=services.streams.inside)
    yield GaugeMetricFamily(
        "ilab_completions_open", "Requests to served models under way.", value=services.completions.inside
    )
    if services.monitor is not None:
        turns = HistogramMetricFamily("ilab_turn_seconds", "How long this server's turns of the queue took.")
        turns.add_metric([], *_buckets(services.monitor.turns))
        yield turns


def _buckets(distribution: Distribution) -> tuple[list[tuple[str, float]], float]:
    bounds = [*(str(bound) for bound in distribution.bounds), "+Inf"]
    return list(zip(bounds, accumulate(distribution.counts), strict=True)), distribution.sum
