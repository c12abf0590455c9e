"""What is in the sdist and in the wheel, and that building them needs no Node.js and changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

# In one process, which builds the distributions once.
pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).resolve().parents[2]
PANEL = "ilab_jupyter-{version}.data/data/share/jupyter/labextensions/ilab-jupyter/"


def git(folder: Path, *arguments: str) -> list[str]:
    """The lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="session")
def version() -> str:
    return str(json.loads((ROOT / "labextension/package.json").read_text())["version"])


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_building_leaves_a_clone_as_it_was(sdist, clone):
    changed = [line for line in git(clone, "status", "--porcelain") if not line.startswith("A  ")]
    assert changed == []


def test_the_sdist_carries_the_panel_built(sdist, version):
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    prefix = f"ilab_jupyter-{version}/"
    assert f"{prefix}ilab_jupyter/labextension/static/style.js" in names
    assert f"{prefix}labextension/yarn.lock" in names
    assert not any("node_modules" in name or "/.yarn/" in name for name in names)


def test_wheel_contains_exactly_files_of_packages_and_notebooks(names, clone, version):
    listed = git(clone, "ls-files", "ilab_jupyter", "instructlab")
    listed += [f"ilab_jupyter/{name}" for name in git(clone, "ls-files", "notebooks")]
    own = {name for name in names if not name.startswith(f"ilab_jupyter-{version}.")}
    assert own == set(listed)


@pytest.mark.parametrize(
    "pattern",
    [
        r"ilab_jupyter/py\.typed",
        r"ilab_jupyter/server/events/.+\.yaml",
        r"ilab_jupyter/starter/data/.*model\.safetensors",
        r"ilab_jupyter/starter/data/.*tokenizer\.json",
        r"ilab_jupyter/widgets/static/.+\.js",
        r"instructlab/core/__init__\.py",
        r"ilab_jupyter/notebooks/quickstart\.ipynb",
        r"ilab_jupyter/notebooks/taxonomy/.+/qna\.yaml",
    ],
)
def test_the_wheel_has_the_data_that_the_code_reads(names, pattern):
    assert any(re.fullmatch(pattern, name) for name in names)


def test_instructlab_stays_a_namespace_that_others_share(names):
    assert "instructlab/__init__.py" not in names


def test_wheel_contains_both_extensions_and_nothing_else(names, version):
    outside = {name for name in names if name.startswith(f"ilab_jupyter-{version}.data/")}
    panel = PANEL.format(version=version)
    config = f"ilab_jupyter-{version}.data/data/etc/jupyter/jupyter_server_config.d/ilab_jupyter.json"
    assert {config, f"{panel}install.json", f"{panel}package.json", f"{panel}static/style.js"} < outside
    assert {f"{panel}schemas/ilab-jupyter/plugin.json"} < outside
    assert all(name == config or name.startswith(panel) for name in outside)


def test_both_halves_have_one_version(wheel, version):
    archive = zipfile.ZipFile(wheel)
    panel = json.loads(archive.read(f"{PANEL.format(version=version)}package.json"))
    metadata = archive.read(f"ilab_jupyter-{version}.dist-info/METADATA").decode()
    assert panel["version"] == version
    assert f"\nVersion: {version}\n" in metadata


def test_the_lock_file_names_no_registry():
    assert "://" not in (ROOT / "labextension/yarn.lock").read_text()
