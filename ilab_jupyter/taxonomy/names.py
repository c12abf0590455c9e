"""What the names of leaves become in InstructLab's generator, and which of them it cannot take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ilab_jupyter.taxonomy import qna
from ilab_jupyter.taxonomy.finding import Finding
from ilab_jupyter.taxonomy.folder import DOMAINS, is_leaf, node_name

# Bytes of a file's name, less those of `mmlubench_` and `.jsonl` around the name of a leaf.
LONGEST = 255 - len("mmlubench_.jsonl")


def findings(files: Iterable[str]) -> Iterator[Finding]:
    """Leaves whose names the generator cannot tell apart, or cannot use for a file."""
    seen: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        if not is_leaf(file) or path.parts[0] not in DOMAINS:
            continue
        node = node_name(path)
        size = len(node.encode(errors="surrogateescape"))
        if size > LONGEST:
            yield qna.finding(
                file,
                "error",
                (1, 1),
                f"the names of its folders have {size} bytes together, the generator takes {LONGEST}",
                "Use shorter names.",
            )
        first = seen.setdefault(node, file)
        if first != file:
            yield qna.finding(
                file,
                "error",
                (1, 1),
                f"the leaf has the same name for the generator as {first}: {node}",
                "Rename one of the folders.",
            )
