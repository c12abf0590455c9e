"""One build of the package from a clean copy of the tracked files, for all tests of this room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = ("node", "nodejs", "npm", "npx", "yarn", "corepack", "jlpm")


def without_node(folder: Path) -> dict[str, str]:
    """An environment in which no Node.js is to be found: PATH is one folder of links to everything else."""
    folder.mkdir()
    for position in os.environ["PATH"].split(os.pathsep):
        for program in Path(position).glob("*"):
            link = folder / program.name
            if program.name not in NODE and program.is_file() and not link.is_symlink():
                link.symlink_to(program)
    assert shutil.which("node", path=str(folder)) is None
    return {**os.environ, "PATH": str(folder)}


def run(command: list[str], **options: object) -> str:
    """Run to success and give what it printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as a new user has it, with what is not committed yet."""
    folder = tmp_path_factory.mktemp("clone") / "ilab-jupyter"
    folder.mkdir()
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for command in (["init", "-q"], ["add", "-A"]):
        run(["git", *command], cwd=folder)
    return folder


@pytest.fixture(scope="session")
def nodeless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine without Node.js."""
    return without_node(tmp_path_factory.mktemp("path") / "bin")


@pytest.fixture(scope="session")
def sdist(clone: Path, nodeless: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist; to make it, the panel was built with the Node.js that came as a build requirement."""
    folder = tmp_path_factory.mktemp("sdist")
    run([sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(clone)], env=nodeless)
    [path] = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def wheel(sdist: Path, nodeless: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist with neither Node.js nor an npm registry within reach."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = {**nodeless, "YARN_NPM_REGISTRY_SERVER": "http://127.0.0.1:9", "YARN_ENABLE_NETWORK": "0"}
    options = ["--verbose", "--no-deps", "--wheel-dir", str(folder)]
    told = run([sys.executable, "-m", "pip", "wheel", *options, str(sdist)], env=environment)
    assert "nodejs" not in told.replace("hatch-nodejs-version", "").replace("hatch_nodejs_version", "")
    [path] = folder.glob("*.whl")
    return path
