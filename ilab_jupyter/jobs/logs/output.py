"""Log output of an attempt as its owner may see it: chunks and search results."""

from __future__ import annotations

from datetime import UTC, datetime

from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.folder import AttemptFolder
from ilab_jupyter.jobs.logs import reading as logs
from ilab_jupyter.jobs.logs import search
from ilab_jupyter.jobs.logs.masking import Mask, mask_of
from ilab_jupyter.jobs.record import LogChunk, LogMatches
from ilab_jupyter.jobs.store.rows import Row, Store


def chunk(store: Store, row: Row, offset: int, limit: int, attempt: int | None) -> LogChunk:
    """See `JobService.logs`. NotFound for an attempt that does not exist or whose log was removed."""
    if not 1 <= limit <= logs.MAX_LIMIT:
        raise InvalidInput(f"The limit is 1 to {logs.MAX_LIMIT}, not {limit}.")
    number, folder, mask, final = _chosen(store, row, attempt)
    piece = logs.read(folder.log, offset, limit, final=final, mask=mask)
    return LogChunk(attempt=number, **piece._asdict(), ended=final and piece.next_offset == piece.size)


def matches(
    store: Store, row: Row, pattern: str, *, regex: bool, offset: int, limit: int, attempt: int | None
) -> LogMatches:
    """See `JobService.search`. InvalidInput for an invalid pattern or limit; otherwise as `chunk`."""
    if not 1 <= limit <= search.MAX_MATCHES:
        raise InvalidInput(f"The limit is 1 to {search.MAX_MATCHES}, not {limit}.")
    wanted = search.compiled(pattern, regex=regex)
    number, folder, mask, final = _chosen(store, row, attempt)
    return search.search(
        folder.log, wanted, attempt=number, offset=offset, limit=limit, final=final, mask=mask
    )


def _chosen(store: Store, row: Row, attempt: int | None) -> tuple[int, AttemptFolder, Mask, bool]:
    number = row.attempt if attempt is None else attempt
    if not 1 <= number <= row.attempt:
        raise NotFound(f"{row.id} has no attempt {number}.", f"It has {row.attempt}.")
    job = store.state.job(row.id)
    folder = job.attempt(number)
    # The state was read before the file, so the log of an ended attempt is complete.
    final = row.state.ended or number < row.attempt
    if final and not folder.log.exists():
        _explain(store, row, number)
    return number, folder, mask_of(job, number), final


def _explain(store: Store, row: Row, number: int) -> None:
    """Raise NotFound if the log was removed. An attempt may also never have written one."""
    pruned = next((one.pruned for one in store.attempts(row.id) if one.n == number), None)
    if pruned is not None:
        raise NotFound(
            f"The log of attempt {number} of {row.id} was removed on "
            f"{datetime.fromtimestamp(pruned, UTC):%Y-%m-%d} by prune.",
            "Its state, events and results are kept.",
            cause="log_pruned",
        )
