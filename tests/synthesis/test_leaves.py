"""Documents of this machine become git repositories that the generator can clone; the user's folders stay
as they are.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from ilab_jupyter import paths
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis import compatibility, leaves

LEAF = "knowledge/transport/railways/brindle_fell/qna.yaml"
ADDRESS = "https://example.invalid/railways.git"


@pytest.fixture
def taxonomy(sample: Path, tmp_path: Path) -> Path:
    shutil.copytree(sample, tmp_path / "taxonomy")
    return tmp_path / "taxonomy"


def named(taxonomy: Path, repo: str, commit: str = "local") -> None:
    leaf = taxonomy / LEAF
    text = leaf.read_text().replace("repo: documents/brindle_fell", f"repo: {repo}")
    leaf.write_text(text.replace("commit: local", f"commit: {commit}"))


def document_of(copies: leaves.Copies) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((copies.root / LEAF).read_text())["document"]
    return found


def clone(copies: leaves.Copies, target: Path) -> list[str]:
    document = document_of(copies)
    environment = {**os.environ, **copies.environment}
    subprocess.run(["git", "clone", "-q", document["repo"], target], check=True, env=environment)
    subprocess.run(["git", "checkout", "-q", document["commit"]], cwd=target, check=True)
    return sorted(path.name for path in target.iterdir() if path.name != ".git")


@pytest.mark.parametrize(
    "repo", ["documents/brindle_fell", "file:documents/brindle_fell", "./documents/brindle_fell"]
)
def test_path_in_taxonomy_is_served_from_own_repository(taxonomy: Path, tmp_path: Path, repo: str) -> None:
    named(taxonomy, repo)
    before = (taxonomy / LEAF).read_text()
    copies = leaves.copy(taxonomy, [LEAF], tmp_path / "run", {})
    assert clone(copies, tmp_path / "clone") == ["railway.md"]
    assert copies.leaves[0].node == "knowledge_transport_railways_brindle_fell"
    assert (taxonomy / LEAF).read_text() == before
    assert not list(taxonomy.rglob(".git"))
    copied = (copies.root / LEAF).read_text().splitlines()
    assert [line for line, old in zip(copied, before.splitlines(), strict=True) if line != old] == copied[5:7]


def test_the_same_documents_are_always_the_same_commit(taxonomy: Path, tmp_path: Path) -> None:
    first = document_of(leaves.copy(taxonomy, [LEAF], tmp_path / "one", {}))
    again = document_of(leaves.copy(taxonomy, [LEAF], tmp_path / "two", {}))
    assert first["commit"] == again["commit"]


def test_address_is_served_from_mapped_folder(taxonomy: Path, tmp_path: Path) -> None:
    named(taxonomy, ADDRESS, "0123abc")
    copies = leaves.copy(
        taxonomy, [LEAF], tmp_path / "run", {ADDRESS: str(taxonomy / "documents/brindle_fell")}
    )
    assert clone(copies, tmp_path / "clone") == ["railway.md"]


def test_local_clone_is_read_at_commit_of_leaf(taxonomy: Path, tmp_path: Path) -> None:
    repository = tmp_path / "mirror"
    shutil.copytree(taxonomy / "documents/brindle_fell", repository)
    identity = ["-c", "user.name=T", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    )
    committed = (repository / "railway.md").read_text()
    (repository / "railway.md").write_text("not committed\n")
    named(taxonomy, ADDRESS, head.stdout.strip())
    copies = leaves.copy(taxonomy, [LEAF], tmp_path / "run", {ADDRESS: str(repository)})
    assert clone(copies, tmp_path / "clone") == ["railway.md"]
    assert (tmp_path / "clone/railway.md").read_text() == committed


@pytest.mark.parametrize(
    ("repo", "line", "said"),
    [
        ("documents/nowhere", 6, "does not exist"),
        ("../outside", 6, "outside the taxonomy"),
        ("compositional_skills", 9, "no .md or .pdf"),
    ],
)
def test_documents_that_are_not_there_are_named_with_the_line(
    taxonomy: Path, tmp_path: Path, repo: str, line: int, said: str
) -> None:
    named(taxonomy, repo)
    with pytest.raises(Unprocessable) as caught:
        leaves.copy(taxonomy, [LEAF], tmp_path / "run", {})
    assert f"{LEAF}:{line}: " in str(caught.value)
    assert said in str(caught.value)


def test_failed_clone_is_reported(taxonomy: Path, tmp_path: Path, recorder: type) -> None:
    from ilab_jupyter.core import Data

    named(taxonomy, str(tmp_path / "no-repository"), "abc")
    with pytest.raises(Unprocessable) as caught:
        Data(taxonomy / LEAF, output_dir=tmp_path).generate_data(
            run_dir=tmp_path / "run", reporter=recorder()
        )
    assert caught.value.cause == "no_documents"
    assert "documents" in caught.value.hint


def test_two_leaves_with_one_name_for_the_generator_are_refused(taxonomy: Path, tmp_path: Path) -> None:
    leaf = "compositional_skills/writing/packing_reminders/qna.yaml"
    twin = "compositional_skills/writing_packing/reminders/qna.yaml"
    (taxonomy / twin).parent.mkdir(parents=True)
    shutil.copy(taxonomy / leaf, taxonomy / twin)
    with pytest.raises(Unprocessable, match="the same name for the generator"):
        leaves.copy(taxonomy, [leaf, twin], tmp_path / "run", {})


def test_inline_markup_that_docling_tears_apart_is_mended() -> None:
    line = "- A *bird* ( [tit](tit) , 1884)"
    torn = f"Birds\nThe\n**black cap**\n(\n*Poecile*\n) is a\n[tit](tit)\n. It sings.\n{line}"
    assert compatibility.repair_markup(torn) == (
        "Birds\nThe **black cap** (*Poecile*) is a [tit](tit). It sings.\n- A *bird* ([tit](tit), 1884)"
    )


def test_fetch_stops_on_request_and_leaves_nothing(taxonomy: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        named(taxonomy, f"git://127.0.0.1:{port}/x", "0" * 40)
        until = time.monotonic() + 1
        with pytest.raises(Stopped):
            leaves.copy(taxonomy, [LEAF], tmp_path / "run", {}, lambda: time.monotonic() > until)
    left = subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True, text=True)
    assert left.stdout == "" and list(paths.documents_dir().iterdir()) == []
