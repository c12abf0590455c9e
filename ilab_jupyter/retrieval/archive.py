"""Check office documents, which are zip archives, before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from ilab_jupyter.retrieval.unreadable import Unreadable

MAX_ENTRIES = 10_000
MAX_UNPACKED = 1_000_000_000
# Office documents compress 5 to 30 times, archive bombs a thousand times.
MAX_RATIO = 200
_FREE = 10_000_000
_OLD_OFFICE = bytes.fromhex("d0cf11e0a1b11ae1")


def check(path: Path, folder: str) -> None:
    """Raise Unreadable unless `path` is a valid archive that contains `folder` ('word' or 'ppt').

    Checking the declared sizes is enough: an entry is never unpacked beyond its declared size.
    """
    with path.open("rb") as stream:
        if stream.read(8) == _OLD_OFFICE:
            raise Unreadable(
                "encrypted",
                "It is locked with a password, or of the format before 2007.",
                "Save it without password as .docx or .pptx.",
            )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Unreadable(
            "broken", "It is damaged: no office document can be opened from it.", "Save it again."
        ) from None
    if len(entries) > MAX_ENTRIES:
        raise Unreadable("archive", f"It holds {len(entries):,} files; {MAX_ENTRIES:,} are the limit.")
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(sum(entry.compress_size for entry in entries), 1)
    # overlapping entries share their bytes in the file, but each adds to the sum
    packed = min(packed, path.stat().st_size)
    if unpacked > MAX_UNPACKED or (unpacked > _FREE and unpacked > MAX_RATIO * packed):
        raise Unreadable(
            "archive",
            f"It would unpack from {packed:,} to {unpacked:,} bytes, as an archive bomb does.",
            "Save it again with its own program if you trust it.",
        )
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise Unreadable("archive", "It holds a file whose path leads out of it.")
        if name in seen:
            raise Unreadable("archive", "It holds two files of one name.")
        if entry.flag_bits & 1:
            raise Unreadable("encrypted", "It is encrypted.", "Save it without password.")
        seen.add(name)
    if not any(name.startswith(f"{folder}/") for name in seen):
        raise Unreadable("format", "Its content is not what its suffix says.", "Correct the suffix.")
