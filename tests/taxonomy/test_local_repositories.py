"""A folder given for a repository is read at the leaf's commit, or as it is where it is no repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilab_jupyter.core import Taxonomy
from tests.taxonomy.conftest import commit, git

LEAF = "knowledge/transport/railways/brindle_fell/qna.yaml"
URL = "https://example.org/brindle"


@pytest.fixture
def leaf(taxonomy: Path) -> Path:
    """The sample, whose document is now at a URL, at a commit that is nowhere."""
    file = taxonomy / LEAF
    text = file.read_text().replace("repo: documents/brindle_fell", f"repo: {URL}")
    file.write_text(text.replace("commit: local", f"commit: {'a' * 40}"))
    return taxonomy


def test_repository_without_the_commit_is_refused(leaf: Path) -> None:
    folder = leaf / "documents" / "brindle_fell"
    git(folder, "init", "-q")
    made = commit(folder)
    [finding] = Taxonomy.validate(leaf, documents={URL: str(folder)}).errors
    assert "a" * 40 in finding.message and str(folder) in finding.message and finding.line == 7
    file = leaf / LEAF
    file.write_text(file.read_text().replace("a" * 40, made))
    assert not Taxonomy.validate(leaf, documents={URL: str(folder)}).errors


def test_folder_that_is_no_repository_is_read_as_it_is(leaf: Path) -> None:
    folder = leaf / "documents" / "brindle_fell"
    assert not Taxonomy.validate(leaf, documents={URL: str(folder)}).errors
