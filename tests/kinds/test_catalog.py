"""Each job kind is declared once: command line, remedy, REST and docs agree with the declaration."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.kinds.catalog import KINDS, job_spec
from ilab_jupyter.kinds.kind import Kind
from ilab_jupyter.kinds.remedies import command
from ilab_jupyter.magics import parsers
from ilab_jupyter.magics.help import COMMANDS, overview
from ilab_jupyter.magics.job_arguments import structure

DOCS = Path(__file__).parents[2] / "docs"
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def parsed(kind: Kind, line: str) -> dict[str, Any]:
    """The arguments of a command line that begins with the kind's name, before they are resolved."""
    name, *words = shlex.split(line)
    assert name == kind.name
    options = parsers.build_parser(name).read(words)
    del options["wait"], options["out"]
    missing = {one.name: "x" for one in kind.positional if one.fallback is not None}
    return {**structure(kind, missing), **structure(kind, options)}


@every_kind
def test_declaration_is_complete(kind: Kind) -> None:
    assert kind.title and kind.summary.endswith(".") and kind.examples
    fields = kind.spec.model_fields
    assert {argument.name for argument in kind.arguments} <= set(fields)
    assert all(argument.metavar for argument in kind.positional)
    for secret in kind.secrets:
        outer, _, inner = secret.partition(".")
        service = kind.argument(outer).service
        assert not inner or (service is not None and inner in service.settings.model_fields)


@every_kind
def test_examples_are_valid_and_equal_their_remedy_commands(kind: Kind) -> None:
    for example in kind.examples:
        line = example.removesuffix(" --wait")
        arguments = job_spec(kind.name, parsed(kind, line)).arguments
        assert job_spec(kind.name, parsed(kind, command(kind.name, arguments))).arguments == arguments


@every_kind
def test_help_names_every_argument_and_example(kind: Kind) -> None:
    assert COMMANDS[kind.name] == kind.summary and kind.summary in overview()
    help = " ".join(parsers.build_parser(kind.name).format_help().split())
    for name in kind.spec.model_fields:
        argument = kind.argument(name)
        option = f"--{(argument.option or name).replace('_', '-')}"
        assert (argument.metavar if argument.positional else option) in help
    assert all(f"%ilab {example}" in help for example in kind.examples)


def test_guide_has_the_table_of_the_declarations() -> None:
    source = importlib.util.spec_from_file_location("kinds_page", DOCS / "kinds.py")
    assert source is not None and source.loader is not None
    page = importlib.util.module_from_spec(source)
    source.loader.exec_module(page)
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.updated(text) == text, "run: python docs/kinds.py"
