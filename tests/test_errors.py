"""What an error came from, a full disk known by whichever library met it, a wrong field in plain words."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter.errors import chain, is_disk_full, wrong_field


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    first, second = ValueError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert list(chain(first)) == [first, second]


def test_chain_follows_context_and_cause() -> None:
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


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    stop: str | list[str]
    name: str = Field(default="a", pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")


class Outer(BaseModel):
    inner: Inner


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stop": 5}, "inner.stop: Input should be a valid string"),
        ({}, "inner.stop: it is missing"),
        ({"stop": "x", "max-length": 1}, "There is no argument 'inner.max-length'"),
        ({"stop": "x", "name": "../X"}, "inner.name: use up to 128 of a-z"),
    ],
)
def test_wrong_field_is_described_without_library_wording(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate({"inner": given})
    said = wrong_field(raised.value.errors()[0])
    assert said.startswith(told) and "[str]" not in said
