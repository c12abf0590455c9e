"""The samples of one leaf, as instructlab-sdg makes them of a qna.yaml and its documents."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ilab_jupyter.synthesis import documents
from ilab_jupyter.synthesis.leaves import Leaf
from ilab_jupyter.taxonomy import yamltext
from ilab_jupyter.taxonomy.folder import node_name


def documents_of(file: Path) -> list[Path]:
    """The documents of the knowledge leaf whose copy is `file`."""
    return documents.found(yamltext.read_file(file).contents["document"])


def samples(file: Path, leaf: Leaf, models: str | None) -> list[dict[str, Any]]:
    """A sample for each seed example, for knowledge one for each chunk and seed example.

    The leaf is read here: instructlab-sdg's parser takes the last folder named `knowledge` in the whole path
    of the file for the domain.
    """
    taxonomy: Any = importlib.import_module("instructlab.sdg.utils.taxonomy")
    contents = yamltext.read_file(file).contents
    path = "->".join(Path(leaf.copy).parent.parts)
    shared = {"taxonomy_path": path, "domain": contents.get("domain")}
    if leaf.kind == "knowledge":
        shared |= {
            "filepaths": taxonomy._get_documents(contents["document"]),
            "document_outline": contents.get("document_outline"),
        }
        node = [
            {**shared, "context": seed["context"], "questions_and_answers": seed["questions_and_answers"]}
            for seed in contents["seed_examples"]
        ]
    else:
        shared["task_description"] = contents.get("task_description")
        node = [
            {
                **shared,
                "instruction": seed["question"],
                "input": seed.get("context", ""),
                "output": seed["answer"],
            }
            for seed in contents["seed_examples"]
        ]
    made: Any = taxonomy.leaf_node_to_samples(node, 0, 0, None, None, docling_model_path=models)
    rows = [dict(row) for row in made]
    for row in rows:
        row["leaf_node_path"] = node_name(Path(leaf.copy))
    if leaf.kind == "grounded":
        # a dataset has the columns of its first row, and the prompt would say `None` for a missing context
        for row, seed in zip(rows, contents["seed_examples"], strict=True):
            row["seed_context"] = seed.get("context") or ""
    return rows
