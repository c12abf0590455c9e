"""Locality-sensitive hashing: MinHash signatures in buckets find candidates for near duplicates.

The signatures are those of datasketch (Broder 1997). Its own index keeps a Python set for each bucket, about
6 kB a row; the buckets here are one dictionary of integers and an array of links, about 2.5 kB a row.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine
from ilab_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from datasketch import MinHash  # type: ignore[import-untyped]

PERMUTATIONS = 128
# Share of the pairs exactly at the threshold that are found; of more similar pairs, more are found.
_FOUND = 0.9


class Buckets:
    """LSH index. Items are numbered from 0 in the order in which they are added.

    Items that share a bucket are candidates: their Jaccard similarity (of shingles) is probably at least
    `threshold`, and the caller has to verify it.
    """

    def __init__(self, threshold: float) -> None:
        engine.require("A search for near duplicates", "datasketch")
        from datasketch import MinHash

        self._bands, self._width = bands(threshold)
        self._empty: MinHash = MinHash(self._bands * self._width, seed=1, hashfunc=zlib.crc32)
        self._aside: MinHash = MinHash(self._bands, seed=2, hashfunc=zlib.crc32)
        self._latest: dict[int, int] = {}
        self._earlier = array("q")

    def keys(
        self, shingles: frozenset[str], aside: frozenset[str] = frozenset(), equal: Hashable = ()
    ) -> list[int]:
        """Return the buckets of an item.

        `aside` contains shingles that must be similar, too, independently; `equal` must be equal.
        """
        values = _signed(self._empty, shingles).reshape(self._bands, self._width)
        others = _signed(self._aside, aside)
        return [hash((band, values[band].tobytes(), int(others[band]), equal)) for band in range(self._bands)]

    def add(self, keys: list[int]) -> None:
        """Add the next item to its buckets."""
        item = len(self._earlier) // self._bands
        for key in keys:
            self._earlier.append(self._latest.get(key, -1))
            self._latest[key] = item

    def candidates(self, keys: list[int]) -> Iterator[int]:
        """Yield each item that shares a bucket with `keys`, once."""
        seen: set[int] = set()
        for band, key in enumerate(keys):
            item = self._latest.get(key, -1)
            while item >= 0:
                if item not in seen:
                    seen.add(item)
                    yield item
                item = self._earlier[item * self._bands + band]


def bands(threshold: float) -> tuple[int, int]:
    """Return (number of bands, values in each band) that find `_FOUND` of the pairs at the threshold.

    The widest such bands are chosen, which find the fewest other pairs. Raises InvalidInput for a threshold
    that is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(
            f"A threshold of {threshold} is no similarity.", "Choose one above 0, up to 1 (the same words)."
        )
    for width in range(PERMUTATIONS, 0, -1):
        number = PERMUTATIONS // width
        if 1 - (1 - threshold**width) ** number >= _FOUND:
            return number, width
    return PERMUTATIONS, 1


def _signed(empty: MinHash, shingles: frozenset[str]) -> Any:
    """Return the values of the MinHash signature of `shingles`, which may be empty."""
    signature = empty.copy()
    signature.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
    return signature.hashvalues
