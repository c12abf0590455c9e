"""A new user's environment: the base install is light, and both halves are enabled by installing."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.environment import closure, make_environment, pip

# In one process, which builds the distributions once.
pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).resolve().parents[2]


def run(command: list[str], **options: object) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel and what it requires without extras."""
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    packages = closure(metadata.get_all("Requires-Dist", []))
    folder = make_environment(tmp_path_factory.mktemp("light") / "environment", packages)
    run(pip(folder, "install", "--quiet", "--no-deps", "--no-index", str(wheel)))
    return folder


def test_wheel_requirements_are_complete(light):
    assert "No broken requirements" in run(pip(light, "check"))


@pytest.mark.timeout(600)
def test_installing_wheel_enables_both_halves(light):
    told = run([str(light / "jupyter"), "server", "extension", "list"])
    assert "ilab_jupyter" in told and "Validating ilab_jupyter" in told
    assert "OK" in told.split("Validating ilab_jupyter", 1)[1].splitlines()[1]
    told = run([str(light / "jupyter"), "labextension", "list"])
    [line] = [line for line in told.splitlines() if "ilab-jupyter v" in line]
    assert "enabled" in line and "OK" in line


def test_base_install_has_no_engine(light):
    script = (
        "from importlib.util import find_spec as f;"
        "print([n for n in ('torch','transformers','datasets','pandas') if f(n)])"
    )
    assert run([str(light / "python"), "-c", script]).strip() == "[]"
    assert "demo" in run([str(light / "ilab-jupyter"), "--help"])


def test_editable_install_enables_both_halves(light, clone, nodeless):
    run(pip(light, "install", "--quiet", "--no-deps", "--editable", str(clone)), env=nodeless)
    where = run([str(light / "python"), "-c", "import ilab_jupyter; print(ilab_jupyter.__file__)"], cwd=light)
    assert Path(where.strip()).is_relative_to(clone)
    assert (
        "OK"
        in run([str(light / "jupyter"), "labextension", "list"]).split("ilab-jupyter v", 1)[1].splitlines()[0]
    )


def test_the_panel_knows_the_contract_of_this_server():
    told = run([sys.executable, "-m", "ilab_jupyter", "openapi"], cwd=ROOT)
    assert told == (ROOT / "labextension/openapi.json").read_text(), "run `jlpm contract` in labextension/"


def test_the_panel_installed_here_is_the_one_built_here():
    if (distribution("ilab-jupyter").read_text("direct_url.json") or "").find('"editable": true') < 0:
        pytest.skip("not an editable install")
    installed = Path(sysconfig.get_path("data")) / "share/jupyter/labextensions/ilab-jupyter/static"
    built = ROOT / "ilab_jupyter/labextension/static"
    assert {file.name for file in installed.iterdir()} == {file.name for file in built.iterdir()}, (
        "run `pip install --editable .` again"
    )
