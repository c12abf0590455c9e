"""Which earlier rows are probably near a new one: MinHash signatures in buckets of equal bands.

The signatures are datasketch's (Broder 1997). Its own index keeps a Python set for each bucket, about 6 kB a
row; the buckets here are one dictionary of numbers and a list of links, about 2.5 kB a row.
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
# Of the pairs that are exactly as near as the threshold, so many are found; of nearer ones, more.
_FOUND = 0.9


class Buckets:
    """Items in the order in which they were added, from 0; a lookup gives those that share a band.

    What shares one is probably, not surely, as similar as `threshold` (Jaccard, of shingles): compare it.
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
        """The buckets of an item.

        `aside` are shingles of what must be similar too, in its own right; `equal` must be the same.
        """
        values = _signed(self._empty, shingles).reshape(self._bands, self._width)
        others = _signed(self._aside, aside)
        return [hash((band, values[band].tobytes(), int(others[band]), equal)) for band in range(self._bands)]

    def add(self, keys: list[int]) -> None:
        """Put the next item into its buckets."""
        item = len(self._earlier) // self._bands
        for key in keys:
            self._earlier.append(self._latest.get(key, -1))
            self._latest[key] = item

    def candidates(self, keys: list[int]) -> Iterator[int]:
        """Every item that shares a bucket with `keys`, once each."""
        seen: set[int] = set()
        for band, key in enumerate(keys):
            item = self._latest.get(key, -1)
            while item >= 0:
                if item not in seen:
                    seen.add(item)
                    yield item
                item = self._earlier[item * self._bands + band]


def bands(threshold: float) -> tuple[int, int]:
    """(bands, values a band) that find `_FOUND` of the pairs at the threshold; wide bands find few others.

    InvalidInput for a threshold outside of 0 to 1.
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
    """The signature's values; of nothing, those of the empty set."""
    signature = empty.copy()
    signature.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
    return signature.hashvalues
