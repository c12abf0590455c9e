"""The SDK's System: the inventory of the machine."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ilab_jupyter import hardware
from ilab_jupyter.core import System
from ilab_jupyter.hardware import Category, Inventory

CATEGORIES = ["Platform", "InstructLab", "Torch", "GPUs", "Memory", "Disk", "Libraries"]


def test_each_category_has_facts_or_the_reason_why_not() -> None:
    info = System.info()
    assert [category.name for category in info.categories] == CATEGORIES
    assert all(bool(category.facts) != bool(category.problem) for category in info.categories)
    by_name = {category.name: category for category in info.categories}
    assert by_name["InstructLab"].facts["ilab-jupyter"] == version("ilab-jupyter")
    assert by_name["Libraries"].facts["torch"] == by_name["Torch"].facts["torch"] == version("torch")
    assert (by_name["GPUs"].problem == info.gpu_message) == (not info.gpus)
    assert info.cpus >= 1 and info.memory_total > info.memory_available > 0


def test_text_and_html_contain_every_category() -> None:
    info = System.info()
    for category in info.categories:
        for text in (category.name, category.problem, *category.facts, *category.facts.values()):
            assert text in str(info)
    assert "<table>" in info._repr_html_()


def test_names_are_escaped_in_html() -> None:
    category = Category(name="<b>", facts={"<i>": "<script>"}, problem="&")
    fields = {name: value for name, value in System.info() if name != "categories"}
    shown = Inventory(**fields, categories=[category])._repr_html_()
    assert all(text not in shown for text in ("<b>", "<i>", "<script>")) and "&lt;script&gt;" in shown


def test_unreadable_category_leaves_others_unaffected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Python in which nothing is installed has neither torch nor InstructLab, and tells the rest."""
    monkeypatch.setattr(sys, "path", [])
    info = hardware.take_inventory(tmp_path)
    problems = {category.name: category.problem for category in info.categories}
    assert "torch is not installed" in problems["Torch"] and "InstructLab" in problems["InstructLab"]
    assert not problems["Platform"] and not problems["Memory"] and not problems["Disk"]


def test_no_torch_is_imported_for_it() -> None:
    script = "import sys; from ilab_jupyter.core import System; System.info(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_system_is_constructed_with_the_folder_to_report(tmp_path: Path) -> None:
    assert repr(System(tmp_path)) == f"System({str(tmp_path)!r})"
    assert [category.name for category in System(tmp_path).info().categories] == CATEGORIES
