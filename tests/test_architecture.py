"""The tree tells the architecture: who may import whom, and no file over 500 lines."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ilab_jupyter"

GROUND = {
    "addresses",
    "display",
    "durable",
    "errors",
    "paths",
    "progress",
    "secret_names",
    "hardware",
    "engine",
    "ending",
    "__init__",
}
MAY_IMPORT = {
    "jobs": {"jobs"},
    "registry": {"registry", "starter"},
    "retrieval": {"retrieval", "registry", "taxonomy"},
    "starter": {"starter"},
    "evaluation": {"evaluation", "synthesis", "taxonomy", "serving", "registry"},
    "models": {"models", "training", "serving", "registry"},
    "curation": {"curation", "training", "registry", "taxonomy"},
    "kinds": {
        "kinds",
        "jobs",
        "core",
        "configuration",
        "registry",
        "retrieval",
        "synthesis",
        "training",
        "evaluation",
    },
    "client": {"client", "jobs", "kinds", "registry"},
    "server": {"server", "client", "core", "jobs", "kinds", "registry", "taxonomy"},
    "magics": {"magics", "client", "core", "jobs", "kinds", "registry", "demo"},
    "widgets": {"widgets", "client", "jobs", "kinds", "registry"},
    "configuration": {"configuration", "registry"},
    "core": {
        "core",
        "curation",
        "configuration",
        "taxonomy",
        "synthesis",
        "training",
        "serving",
        "registry",
        "retrieval",
        "evaluation",
        "models",
    },
    "synthesis": {"synthesis", "taxonomy", "registry", "retrieval"},
    "taxonomy": {"taxonomy"},
    "training": {"training", "registry"},
    "serving": {"serving", "registry"},
}
HEAVY = ("torch", "transformers", "datasets", "pandas", "numpy", "peft", "trl", "docling", "instructlab.sdg")
LIGHT = ("registry", "jobs", "client", "server", "magics", "kinds", "taxonomy", "configuration")


def modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules(room)
        for name in imports(path)
        if name.startswith("ilab_jupyter.")
        and (target := name.split(".")[1]) not in MAY_IMPORT[room] | GROUND
        and ((PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").is_file())
    }
    assert modules(room), f"the room {room} is empty"
    assert not wrong


def test_server_modules_have_no_import_cycle() -> None:
    prefix = "ilab_jupyter.server."
    graph = {
        path.stem: {
            name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)
        }
        for path in modules("server")
    }
    sorter = graphlib.TopologicalSorter({name: found & set(graph) for name, found in graph.items()})
    sorter.prepare()  # raises CycleError, which names the modules


def test_base_modules_import_only_errors_and_display() -> None:
    for name in GROUND - {"__init__"}:
        ours = {found for found in imports(PACKAGE / f"{name}.py") if found.startswith("ilab_jupyter")}
        assert all(found.startswith(("ilab_jupyter.errors", "ilab_jupyter.display")) for found in ours)


def test_light_packages_import_no_heavy_library() -> None:
    """One process imports them all, and names the module that was the first to load a heavy library."""
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for room in LIGHT
        for path in modules(room)
        if path.name != "__main__.py"
    ]
    script = (
        f"import importlib, sys\n"
        f"for name in {names!r}:\n"
        f"    importlib.import_module(name)\n"
        f"    heavy = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        f"    if heavy: sys.exit(f'{{name}} imports {{heavy}}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_but_itself() -> None:
    script = (
        "import sys, ilab_jupyter; print(sorted(m for m in sys.modules if m.startswith('ilab_jupyter.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_supervisor_avoids_slow_imports() -> None:
    script = (
        "import sys, ilab_jupyter.jobs.attempt.supervisor, ilab_jupyter.jobs.queue.scheduler\n"
        "print([name for name in ('alembic', 'jsonschema', 'psycopg', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_longer_than_500_lines() -> None:
    root = PACKAGE.parent
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.ts", "*.tsx", "*.js", "*.css"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert tracked
    generated = {"labextension/src/api/contract.ts"}
    long = {
        name: lines
        for name in tracked
        if name not in generated
        and (root / name).is_file()
        and (lines := len((root / name).read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long


def test_architecture_page_names_existing_files() -> None:
    root = PACKAGE.parent
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:ilab_jupyter|labextension|tests)/[^`]+)`", page)
    assert len(named) > 20
    assert [name for name in named if not (root / name).exists()] == []
