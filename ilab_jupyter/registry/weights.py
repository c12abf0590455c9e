"""The header of a safetensors file: how many parameters it holds, whether it is whole. Nothing is loaded."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from ilab_jupyter.errors import Unprocessable

# The format's own bound on its header.
MAX_HEADER = 100_000_000
MAX_DIMENSIONS = 64
AGAIN = "Copy or download the file again."


def parameters(file: Path) -> int:
    """Number of values in all tensors of a safetensors file; Unprocessable where it is torn or none."""
    status = file.stat()
    return _parameters(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _parameters(file: Path, modified: int, size: int) -> int:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise Unprocessable(
                f"{file.name} is torn or no safetensors file: its header does not fit in it.", AGAIN
            )
        raw = stream.read(length)
    try:
        header = json.loads(raw, parse_constant=_refuse_constant)
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        total = sum(_size(entry["shape"]) for entry in tensors)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, ArithmeticError):
        raise Unprocessable(f"{file.name} has an unreadable safetensors header.", AGAIN) from None
    if 8 + length + end != size:
        raise Unprocessable(
            f"{file.name} is torn: {size} bytes instead of the {8 + length + end} that its header promises.",
            AGAIN,
        )
    return total


def _size(shape: Any) -> int:
    """Number of values in a tensor; ValueError where a length is not a count that a file can have."""
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("shape")
    if not all(type(length) is int and 0 <= length < 2**48 for length in shape):
        raise ValueError("shape")
    return math.prod(shape)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
