"""The `%ilab` magic: parses a line, calls the job service, returns an object with a notebook view."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import display
from traitlets import Any as AnyTrait
from traitlets import default

from ilab_jupyter import hardware, paths
from ilab_jupyter.client import render
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.queue import attempts_table, queue_table
from ilab_jupyter.client.table import JobList, Table
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError
from ilab_jupyter.jobs.record import Event, Job, JobFilter
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs, run
from ilab_jupyter.kinds.catalog import KINDS, Kind, job_spec
from ilab_jupyter.magics import chat, job_arguments, parsers, removal, resolve, workspace
from ilab_jupyter.magics.arguments import SIMILARITY
from ilab_jupyter.magics.failure import CommandError
from ilab_jupyter.magics.help import COMMANDS, overview
from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.models import Models

Options = dict[str, Any]


@magics_class
class IlabMagics(Magics):
    """The commands. `jobs` is their job service, connected at the first use."""

    jobs = AnyTrait()

    @default("jobs")
    def _connect(self) -> SyncJobs:
        from ilab_jupyter.client.connect import connect

        return SyncJobs(connect())

    shell: Any

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        self._conversations: dict[str, list[chat.Message]] = {}

    @line_cell_magic
    def ilab(self, line: str, cell: str | None = None) -> object:
        try:
            return self._run(line, cell)
        except PublicError as error:
            raise CommandError(error) from None

    ilab.__doc__ = overview()

    def _run(self, line: str, cell: str | None) -> object:
        command, _, rest = line.strip().partition(" ")
        if command in ("", "-h", "--help", "help"):
            print(overview())
            return None
        if command not in COMMANDS:
            near = difflib.get_close_matches(command, COMMANDS, 1, SIMILARITY)
            raise InvalidInput(
                f"There is no command {command!r}.{f' Did you mean `{near[0]}`?' if near else ''}",
                f"Choose one of: {', '.join(COMMANDS)}.",
            )
        if cell is not None and command not in ("chat", *KINDS):
            raise InvalidInput(f"%%ilab {command} takes no cell.", f"Write %ilab {command} with one %.")
        parser = parsers.build_parser(command)
        if command == "chat":
            return self._chat(rest, cell)
        try:
            words = shlex.split(rest)
        except ValueError:
            raise InvalidInput("A quotation mark is not closed.", "Close it, or leave it out.") from None
        if {"-h", "--help"} & set(words):
            print(parser.format_help())
            return None
        options = parser.read(words)
        out = options.pop("out", None)
        if out is not None and not out.isidentifier():
            raise InvalidInput(f"{out!r} cannot be the name of a variable.", "Use letters, digits and _.")
        if command in KINDS:
            return self._give(out, self._start(KINDS[command], options, cell))
        return self._give(out, getattr(self, f"_{command}")(options))

    def _give(self, out: str | None, result: object) -> object:
        if out is not None:
            self.shell.user_ns[out] = result
        if isinstance(result, JobHandle) and getattr(self.shell, "kernel", None) is not None:
            # IPython displays nothing for `job = %ilab ...`; a second display of a handle has no effect.
            display(result)  # type: ignore[no-untyped-call]
        return result

    # Commands that start a job.

    def _start(self, kind: Kind, options: Options, cell: str | None) -> JobHandle:
        """Submit a job of this kind; its notes and warnings are printed once it is queued."""
        wait = options.pop("wait")
        prepared = job_arguments.prepare(kind, options, cell, self.jobs)
        with job_arguments.as_options():
            spec = job_spec(kind.name, prepared.arguments)
        job = self.jobs.submit(spec, secrets=prepared.secrets or None)
        warnings = (f"Warning: {warning}" for warning in job.warnings)
        for line in filter(None, (*prepared.notes, render.resolved(job), *warnings)):
            print(line)
        return self._shown(JobHandle(self.jobs, job.id), wait=wait)

    def _shown(self, handle: JobHandle, *, wait: bool) -> JobHandle:
        """The handle; with `wait` after the job's end, or after its ready event."""
        if wait:
            job = handle.refresh()
            live = getattr(self.shell, "kernel", None) is not None
            if live:
                display(handle)  # type: ignore[no-untyped-call]
            handle.wait(follow=not live, until=_ready(job))
        return handle

    # Commands on jobs.

    def _jobs(self, options: Options) -> JobList:
        states = tuple(JobState(state) for state in options["state"] or ())
        kinds = tuple(options["kind"] or ())
        text = options["text"] or ""
        wanted = JobFilter(states=states, kinds=kinds, text=text[:200])
        return JobList(self.jobs.list(wanted, limit=_number(options["limit"], "--limit", 1, 500)).jobs)

    def _logs(self, options: Options) -> str | None:
        handle = self._job(options["id"])
        if options["search"] is not None:
            self._search(handle.id, options["search"], regex=options["regex"])
            return None
        if options["follow"]:
            handle.wait(follow=True)
            return None
        lines = options["tail"]
        text = handle.logs(None if lines is None else _number(lines, "--tail", 1, 1_000_000))
        print(text or f"Job {handle.id} has not printed anything yet.")
        return None

    def _search(self, id: str, pattern: str, *, regex: bool) -> None:
        """Print matching lines as they are found, up to the end of the log."""
        offset, found, complete = 0, 0, False
        while not complete:
            part = self.jobs.search(id, pattern, regex=regex, offset=offset, limit=1000)
            for match in part.matches:
                print(match.text)
            found += len(part.matches)
            offset, complete = part.next_offset, part.complete
        if not found:
            print(f"No line in the log of {id} matches.")

    def _attempts(self, options: Options) -> Table:
        return attempts_table(self.jobs.attempts(self._job(options["id"]).id))

    def _prune(self, options: Options) -> Table:
        days, most = options["days"], options["keep_bytes"]
        done = self.jobs.prune(
            days=None if days is None else _number(days, "--days", 0, 100_000),
            keep_bytes=None if most is None else _number(most, "--keep-bytes", 0, 2**62),
            dry_run=options["dry_run"],
        )
        verb = "would be removed" if options["dry_run"] else "removed"
        return Table(("logs", "size"), ((f"{done.attempts} {verb}", render.size(done.bytes)),), "")

    def _queue(self, options: Options) -> Table | JobHandle:
        action, words, before = options["action"], options["words"], options["before"]
        if action == "first":
            if len(words) != 1:
                raise InvalidInput("%ilab queue first needs the id of a job.", "See `%ilab queue`.")
            other = None if before is None else self._job(before).id
            return JobHandle(self.jobs, self.jobs.reorder(self._job(words[0]).id, before=other).id)
        if before is not None or (words and action != "pause"):
            raise InvalidInput("%ilab queue does not take these arguments.", "See `%ilab queue?`.")
        if action == "pause":
            state = self.jobs.pause(" ".join(words))
        else:
            state = self.jobs.unpause() if action == "resume" else self.jobs.queue()
        return queue_table(state, [self.jobs.get(id) for id in state.waiting[:100]])

    def _cancel(self, options: Options) -> JobHandle:
        return self._job(options["id"]).cancel()

    def _resume(self, options: Options) -> JobHandle:
        return self._shown(self._job(options["id"]).resume(), wait=options["wait"])

    def _attach(self, options: Options) -> JobHandle:
        handle = self._job(options["id"])
        if resolved := render.resolved(handle.job):
            print(resolved)
        return self._shown(handle, wait=options["wait"])

    def _job(self, id: str | None) -> JobHandle:
        if id is not None:
            return JobHandle.find(self.jobs, id)
        newest: list[Job] = self.jobs.list(limit=1).jobs
        if not newest:
            raise NotFound("There are no jobs yet.", "Start one: %ilab generate, %ilab train or %ilab serve.")
        return JobHandle(self.jobs, newest[0].id)

    def _remove(self, options: Options) -> None:
        removal.remove(self.jobs, options)

    # Commands that show or change other things.

    _config = staticmethod(workspace.config)
    _taxonomy = staticmethod(workspace.taxonomy)

    def _models(self, options: Options) -> Table:
        return Table(
            ("name", "kind", "base", "parameters", "size", "changed (UTC)"),
            tuple(
                (
                    entry.name,
                    entry.summary,
                    entry.base or "",
                    "" if entry.parameters is None else f"{entry.parameters / 1e6:,.2f} M",
                    render.size(entry.size_bytes),
                    f"{entry.modified_at.astimezone(UTC):%Y-%m-%d %H:%M}",
                )
                for entry in Models().list(damaged=True)
            ),
            f"No models below {paths.models_dir()}.",
        )

    def _data(self, options: Options) -> Table:
        if options["name"] is not None:
            return self._rows(options["name"], options["file"], _number(options["rows"], "--rows", 1, 1000))
        return Table(
            ("name", "files", "rows", "size", "created (UTC)"),
            tuple(
                (
                    entry.name,
                    f"damaged: {entry.problem}" if entry.problem else len(entry.files),
                    sum(file.rows for file in entry.files if file.role != "test"),
                    render.size(entry.size_bytes),
                    f"{entry.created_at.astimezone(UTC):%Y-%m-%d %H:%M}",
                )
                for entry in Datasets().list()
            ),
            f"No datasets below {paths.datasets_dir()}. Make one: %ilab generate TAXONOMY",
        )

    def _rows(self, word: str, file: str | None, limit: int) -> Table:
        datasets = Datasets()
        try:
            entry = datasets.get(word)
        except NotFound:
            entry = datasets.get(resolve.dataset(self.jobs, word))
        # messages_*.jsonl has each question and answer once.
        first = next((one for one in entry.files if one.role == "messages"), entry.files[0])
        found = datasets.preview(entry.name, file or first.name, limit=limit)
        return Table(
            ("row", f"{found.file} ({found.total} rows)"),
            tuple((row.number, parsers.brief(row)) for row in found.rows),
            f"{found.file} has no rows.",
        )

    def _system(self, options: Options) -> Table:
        machine = hardware.look(paths.state_dir())
        gpus = [f"{gpu.name}, {render.size(gpu.memory_total)}" for gpu in machine.gpus]
        libraries = [f"{name} {version}" for name, version in machine.libraries.items() if version]
        missing = [name for name, version in machine.libraries.items() if not version]
        return Table(
            ("", "this machine"),
            (
                ("platform", machine.platform),
                ("Python", f"{machine.python} ({sys.executable})"),
                ("processors", machine.cpus),
                (
                    "memory",
                    f"{render.size(machine.memory_available)} free of {render.size(machine.memory_total)}",
                ),
                ("disk", f"{render.size(machine.disk_free)} free for {paths.state_dir()}"),
                ("GPU", "; ".join(gpus) or machine.gpu_message or "none"),
                ("libraries", ", ".join(libraries) or "none"),
                ("not installed", ", ".join(missing) or "nothing"),
                ("models", paths.models_dir()),
                ("datasets", paths.datasets_dir()),
            ),
            "",
        )

    def _demo(self, options: Options) -> Table:
        from ilab_jupyter import demo

        output = Path(resolve.absolute(options["output"]))
        figures = demo.run(self.jobs, output=output)
        return Table(("figure", "value"), tuple(figures.items()), "")

    def _chat(self, line: str, cell: str | None) -> object:
        from ilab_jupyter.client.inference import find, stream_chat

        parser = parsers.build_parser("chat")
        words, model, question = chat.split(parser, line)
        if {"-h", "--help"} & set(words):
            print(parser.format_help())
            return None
        options = parser.read(words)
        prompt = "\n".join(filter(None, (question, (cell or "").strip())))
        if not prompt:
            raise InvalidInput("There is no question.", "Write %ilab chat MODEL and the question after it.")
        checked = parsers.sampling(options)
        model = run(find(self.jobs.service, model)).model
        history = self._conversations.get(model, []) if options["keep"] else []
        if not history and options["system"]:
            history = [{"role": "system", "content": options["system"]}]
        messages = [*history, {"role": "user", "content": prompt}]
        answer = chat.print_stream(
            chat.blocking(stream_chat(self.jobs.service, model, messages, **checked)), sys.stdout
        )
        if options["keep"]:
            self._conversations[model] = [*messages, {"role": "assistant", "content": answer}]
        self._give(options["out"], answer)
        return None


def _ready(job: Job) -> Callable[[Event], bool] | None:
    """Whether an event says that the job is ready before its end; None for a kind that has no such event."""
    kind = KINDS.get(job.kind)
    if kind is None or kind.ready_event is None:
        return None

    def ready(event: Event) -> bool:
        fields = event.fields
        current = fields.get("attempt") == job.attempt
        return event.type == kind.ready_event and current and bool(fields.get("ready"))

    return ready


def _number(text: str | int, option: str, low: int, high: int) -> int:
    if not str(text).isdecimal() or not low <= int(text) <= high:
        raise InvalidInput(f"`{option}` must be a number from {low} to {high}, not {str(text)!r}.")
    return int(text)
