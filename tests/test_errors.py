"""What an error came from, followed to its end, and a full disk known by whichever library met it."""

from __future__ import annotations

import errno
import os

import pytest

from ilab_jupyter.errors import chain, is_disk_full


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    first, second = ValueError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert list(chain(first)) == [first, second]


def test_a_chain_follows_what_was_being_handled_as_well_as_what_was_named() -> None:
    try:
        try:
            try:
                raise OSError(errno.EIO, "deep")
            except OSError:
                raise KeyError("handling") from None
        except KeyError as error:
            raise RuntimeError("named") from error
    except RuntimeError as error:
        assert [type(link) for link in chain(error)] == [RuntimeError, KeyError, OSError]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("I/O error: Quota exceeded (os error 122)"),
    ],
)
def test_a_disk_or_a_quota_that_ran_out_is_known(error: Exception) -> None:
    assert is_disk_full(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), MemoryError(), RuntimeError("broken")])
def test_other_failures_are_no_full_disk(error: Exception) -> None:
    assert not is_disk_full(error)
