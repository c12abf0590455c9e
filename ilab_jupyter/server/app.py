"""The server extension: its settings, what it is made of, and its life from start to stop."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server._tz import utcnow
from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode, Union

from ilab_jupyter import paths
from ilab_jupyter import secret_names as names
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.server.audit import EVENT_SCHEMA as AUDIT_SCHEMA

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from ilab_jupyter.jobs.device import Device
    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.jobs.store.summaries import JobSummary
    from ilab_jupyter.server.services import Services

EVENT_SCHEMA = "https://schema.ilab-jupyter.org/job_state/v1"


class IlabApp(ExtensionApp):
    """InstructLab's workflow in this Jupyter server: jobs, models, datasets, and the models that are served.

    What is slow to import is imported when it is first used: a Jupyter server starts no later for this.
    """

    name = "ilab_jupyter"
    services: Services | None = None

    state_dir = Unicode(
        help="""The folder of the job store and of each job's log and files. Servers and kernels that name the
        same folder share one queue. It must be on a disk that outlives the server, with room for logs.
        Empty: $ILAB_JUPYTER_STATE, else $XDG_STATE_HOME/ilab-jupyter."""
    ).tag(config=True)

    worker_python = Union(
        [Unicode(), Dict(value_trait=Unicode(), key_trait=Unicode())],
        default_value="",
        help="""The Python interpreter that runs jobs, where the engine's libraries (the extra `engine`) are
        not installed beside Jupyter. One path for all jobs, or a path per kind:
        c.IlabApp.worker_python = {"train": "/opt/train/bin/python"}.
        Empty, or a kind that is not named: $ILAB_JUPYTER_WORKER_PYTHON, else this server's interpreter.""",
    ).tag(config=True)

    slots = Dict(
        value_trait=Int(min=1),
        key_trait=Unicode(),
        help="""How many jobs of each queue run at once; the others wait in the order of priority and time.
        Generating and training are in the queue `batch`, served models in `serving`. A queue that is not
        named keeps what was set before. It holds for every process on this state folder.""",
    ).tag(config=True)

    grace_seconds = Float(
        None,
        allow_none=True,
        help="""How long a stopping job may take to save a checkpoint before it is killed. None
        keeps what was set before. It holds for every process on this state folder.""",
    ).tag(config=True)

    retries = Bool(
        None,
        allow_none=True,
        help="""Whether a job whose cause says that it helps (a teacher that had too many requests, preemption
        by another job) is retried automatically, after growing pauses. None keeps what was set
        before, which is at first that it is. It holds for every process on this state folder.""",
    ).tag(config=True)

    devices = List(
        Dict(),
        default_value=None,
        allow_none=True,
        help="""The GPUs that jobs may have, where that is not all that NVML sees: a list such as
        [{"uuid": "GPU-5f...", "memory_total": 80000000000}]; an empty one for none. None keeps what was set
        before, which is at first what NVML sees. It holds for every process on this state folder.""",
    ).tag(config=True)

    database_url = Unicode(
        help="""The PostgreSQL database that holds the rows of the jobs, such as
        postgresql://user@host/jobs, for a state folder on a network file system or a service that many share.
        Every process on the state folder must name the same. The password is best left to ~/.pgpass. Empty:
        $ILAB_JUPYTER_DATABASE_URL, else the file jobs.db in the state folder."""
    ).tag(config=True)

    keep_alive_hours = Float(
        24.0,
        help="""A live job counts as activity for this long after it started, so that neither the server's
        shutdown_no_activity_timeout nor a Hub's culler stops the server under it. Then it counts no longer:
        a forgotten job cannot hold a server for ever. 0: jobs never count.""",
    ).tag(config=True)

    stop_jobs = Enum(
        ("auto", "always", "never"),
        default_value="auto",
        help="""What happens to live jobs when this server stops. `always`: they save a checkpoint within
        grace_seconds and become INTERRUPTED, and the server waits for that. `never`: they
        go on without the server. `auto`: the first where jobs cannot outlive the server, as in a container
        whose main program it is, the second elsewhere.""",
    ).tag(config=True)

    resume_at_start = Bool(
        True,
        help="""When this server starts, its owner's jobs that ended with their machine or server (causes
        shutdown, supervisor_lost and terminated) are queued again and go on from their last checkpoint. A job
        that has come no further in three such attempts in a row waits for its owner.""",
    ).tag(config=True)

    secret_names = List(
        Unicode(),
        default_value=list(names.DEFAULT_SECRETS),
        help="""Patterns of the names that a job's secrets may have as environment variables of its worker,
        such as *_API_KEY. Names that make a program load code are refused whatever the patterns are.""",
    ).tag(config=True)

    api_key_names = List(
        Unicode(),
        default_value=list(names.DEFAULT_API_KEYS),
        help="""Patterns of the environment variables that a teacher's or a judge's api_key_env may name. The
        value of such a variable of this server is sent to the address that the job names.""",
    ).tag(config=True)

    max_queued_jobs = Int(
        1000,
        min=1,
        help="""How many jobs of one owner may wait in the queue. A further one is refused (429).""",
    ).tag(config=True)

    max_streams = Int(
        200, min=1, help="""How many live streams (server-sent events and WebSockets) may be open at once."""
    ).tag(config=True)

    max_completions = Int(
        32, min=1, help="""How many requests to served models may be under way at once."""
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Create the services. Nothing is read from the disk yet, so that this cannot fail."""
        from ilab_jupyter.server.monitor import JobMonitor
        from ilab_jupyter.server.services import Services

        assert self.serverapp is not None
        # Workers and kernels inherit these: an allow-list holds wherever a job is submitted or run.
        for variable, patterns, default in (
            (names.SECRETS, self.secret_names, names.DEFAULT_SECRETS),
            (names.API_KEYS, self.api_key_names, names.DEFAULT_API_KEYS),
        ):
            if list(patterns) != list(default):
                os.environ[variable] = names.check_patterns(patterns)
        self.services = Services(
            state_dir=Path(self.state_dir).expanduser() if self.state_dir else paths.state_dir(),
            open_jobs=self._open_jobs,
            emit_audit=self._emit_audit,
            slots=dict(self.slots),
            grace_seconds=self.grace_seconds,
            resume_at_start=self.resume_at_start,
            always_open=bool(self._database) or self.devices is not None or self.retries is not None,
            log=self.log,
            max_streams=self.max_streams,
            max_completions=self.max_completions,
        )
        self.services.monitor = JobMonitor(
            self.services,
            keep_alive=timedelta(hours=self.keep_alive_hours),
            on_active=self._stamp_activity,
            on_state=self._emit_state,
        )
        self.settings["ilab"] = self.services
        assert self.serverapp.event_logger is not None
        for schema in ("job_state.yaml", "audit.yaml"):
            self.serverapp.event_logger.register_event_schema(Path(__file__).parent / "events" / schema)

    def initialize_handlers(self) -> None:
        """Hang what hangs the routes once they are wanted."""
        from ilab_jupyter.server.lazy_routes import LazyRoutes

        assert self.serverapp is not None
        application = self.serverapp.web_app
        application.add_handlers(".*$", [LazyRoutes(application).rule])  # type: ignore[no-untyped-call]

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """The loop runs: adopt what an earlier server left running, and keep the queue moving."""
        if self.services is not None and self.services.monitor is not None:
            self.services.monitor.start()

    async def stop_extension(self) -> None:
        """End live jobs where they cannot outlive the server, otherwise they go on; close the streams."""
        if self.services is not None:
            await self.services.close(interrupt=self._jobs_end_with_us())

    def current_activity(self) -> list[str] | None:
        """The ids of the jobs that keep this server alive; None where there are none."""
        if self.services is None or self.services.monitor is None:
            return None
        return [job.id for job in self.services.monitor.active] or None

    def _jobs_end_with_us(self) -> bool:
        if self.stop_jobs == "auto":
            from ilab_jupyter.jobs.attempt.container import ends_with_us

            return ends_with_us()
        return bool(self.stop_jobs == "always")

    def _open_jobs(self) -> LocalJobs:
        from ilab_jupyter.jobs.actor import act_as
        from ilab_jupyter.jobs.local import LocalJobs
        from ilab_jupyter.jobs.store.rows import AUTOMATIC
        from ilab_jupyter.kinds.admission import admit

        assert self.services is not None
        # The request that happens to be the first one has decided none of this.
        act_as(AUTOMATIC)
        jobs = LocalJobs(
            self.services.state_dir,
            worker_python=self.worker_python or None,
            max_queued=self.max_queued_jobs,
            database_url=self._database or None,
            admit=admit,
        )
        jobs.configure(
            slots=dict(self.slots) or None,
            grace_seconds=self.grace_seconds,
            devices=self._devices,
            retries=self.retries,
        )
        if self.resume_at_start:
            for job in jobs.restart_interrupted():
                self.log.info("ilab_jupyter: %s was interrupted and is queued again", job.id)
        return jobs

    @property
    def _devices(self) -> list[Device] | None:
        from pydantic import TypeAdapter, ValidationError

        from ilab_jupyter.jobs.device import Device
        from ilab_jupyter.kinds.catalog import describe

        if self.devices is None:
            return None
        try:
            return TypeAdapter(list[Device]).validate_python(self.devices)
        except ValidationError as error:
            raise InvalidInput(
                f"IlabApp.devices cannot be used: {describe(error)}", "Each has a uuid and its memory_total."
            ) from None

    @property
    def _database(self) -> str:
        return str(self.database_url) or os.environ.get("ILAB_JUPYTER_DATABASE_URL", "")

    def _stamp_activity(self) -> None:
        assert self.serverapp is not None
        self.serverapp.web_app.settings["ilab_last_activity"] = utcnow()

    def _emit_audit(self, entry: dict[str, Any]) -> None:
        assert self.serverapp is not None and self.serverapp.event_logger is not None
        self.serverapp.event_logger.emit(schema_id=AUDIT_SCHEMA, data=entry)

    def _emit_state(self, job: JobSummary) -> None:
        from ilab_jupyter.server.monitor import state_event

        assert self.serverapp is not None and self.serverapp.event_logger is not None
        self.serverapp.event_logger.emit(schema_id=EVENT_SCHEMA, data=state_event(job))
