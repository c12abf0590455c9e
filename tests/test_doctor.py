"""What the check of an installation says of the Python that jobs run in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ilab_jupyter.doctor import Finding, examine


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILAB_JUPYTER_STATE", str(tmp_path / "state"))


def engine() -> Finding:
    return next(finding for finding in examine() if finding.what == "engine")


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true"])
def test_invalid_worker_python_is_found_before_jobs_run(monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    monkeypatch.setenv("ILAB_JUPYTER_WORKER_PYTHON", python)
    found = engine()
    assert not found.ok and python in found.detail and "ILAB_JUPYTER_WORKER_PYTHON" in found.hint


def test_worker_python_without_engine_reports_missing_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("ILAB_JUPYTER_WORKER_PYTHON", str(python))
    found = engine()
    assert not found.ok and "torch" in found.detail and str(python) in found.detail


def versions(folder: Path, monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    """Make these distributions the ones that are found first."""
    for name, version in found.items():
        position = folder / f"{name}-{version}.dist-info"
        position.mkdir()
        (position / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_doctor_reports_torchvision_of_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions(tmp_path, monkeypatch, torch="2.13.0+cpu", torchvision="0.28.0")
    found = next(finding for finding in examine() if finding.what == "torchvision")
    assert not found.ok and "does not fit torch 2.13.0+cpu" in found.detail
    assert "uninstall torchvision" in found.hint


def test_doctor_accepts_torchvision_of_the_same_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(tmp_path, monkeypatch, torch="2.13.0+cpu", torchvision="0.28.0+cpu")
    assert "torchvision" not in [finding.what for finding in examine()]
