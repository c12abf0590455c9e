"""Judges one qna.yaml: InstructLab's own schemas, plus what its generator would stumble over later. Light."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from instructlab.schema import schema_base, schema_versions
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource
from referencing.jsonschema import DRAFT202012

from ilab_jupyter.synthesis import yamltext

FOLDERS = ("compositional_skills", "knowledge")


class Finding(BaseModel):
    """One thing wrong in a taxonomy. An error stops the generation, a matter of style does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    line: int
    column: int
    severity: Literal["error", "style"]
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def judge(file: Path, name: str) -> list[Finding]:
    """All findings of the qna.yaml at `file`, in the order of their lines; `name` is its path in the
    taxonomy.
    """

    def finding(
        severity: Literal["error", "style"], place: yamltext.Place, message: str, mend: str = ""
    ) -> Finding:
        return Finding(
            file=name, line=place[0], column=place[1], severity=severity, message=message, mend=mend
        )

    if file.name != "qna.yaml":
        return [
            finding(
                "error",
                (1, 1),
                f"the file is named {file.name}, and only qna.yaml is read",
                "Rename it to qna.yaml.",
            )
        ]
    try:
        text = yamltext.read(file.read_bytes())
    except OSError as error:
        return [
            finding(
                "error", (1, 1), f"cannot be read: {error.strerror}", "Check the file and its permissions."
            )
        ]
    except yamltext.Broken as error:
        return [finding("error", (error.line, error.column), error.message, "Mend the YAML at this line.")]
    if not text.contents:
        return [finding("error", (1, 1), "the file is empty", "Write the leaf, starting with `version: 3`.")]
    if not isinstance(text.contents, Mapping):
        mend = "Start with keys such as `version: 3`, not with a list or a sentence."
        return [finding("error", text.place([]), "the top level is not a set of keys with values", mend)]
    found = [finding("error", place, message, mend) for place, message, mend in _errors(text, name)]
    found += [finding("style", place, message, mend) for place, message, mend in _style(text)]
    return sorted(found, key=lambda item: (item.line, item.column, item.severity, item.message))


def kind_of(contents: Mapping[str, Any]) -> Literal["knowledge", "grounded", "freeform"]:
    """What a valid leaf teaches, told as InstructLab's generator tells it."""
    if "document" in contents:
        return "knowledge"
    first = contents["seed_examples"][0]
    return "grounded" if first.get("context") else "freeform"


_GIVEN = {type(None): "empty", str: "a text", list: "a list", dict: "a set of keys"}
_WANTED = {"string": "a text", "array": "a list", "object": "a set of keys", "integer": "a whole number"}

Problem = tuple[yamltext.Place, str, str]


@functools.cache
def _schema(version: int, name: str) -> Resource[Any]:
    try:
        source = schema_base().joinpath(f"v{version}", name).read_text(encoding="utf-8")
    except OSError as error:
        raise NoSuchResource(name) from error
    return Resource.from_contents(json.loads(source), default_specification=DRAFT202012)


def _errors(text: yamltext.Text, name: str) -> Iterator[Problem]:
    version = text.contents.get("version", 1)
    known = sorted(int(folder.name[1:]) for folder in schema_versions())
    if not isinstance(version, int) or isinstance(version, bool) or version not in known:
        yield (
            text.place(["version"]),
            f"version is {version!r}, not one of {known}",
            f"Write `version: {known[-1]}`.",
        )
        return
    folder = PurePosixPath(name).parts[0]
    if folder not in FOLDERS:
        folder = "knowledge" if "document" in text.contents else "compositional_skills"
    schema = _schema(version, f"{folder}.json").contents
    if schema.get("deprecated"):
        has = "has no `version`" if "version" not in text.contents else f"has version {version}"
        yield (
            text.place(["version"], key=True),
            f"{folder} {has}, and the least that is read is 3",
            "Write `version: 3`.",
        )
        return
    validator = validator_for(schema)(
        schema,
        registry=Registry(retrieve=lambda uri: _schema(version, uri)),  # type: ignore[call-arg]
    )
    for error in validator.iter_errors(text.contents):
        yield from _explain(text, error)
    if folder == "knowledge":
        yield from _document(text)


def _explain(text: yamltext.Text, error: ValidationError) -> Iterator[Problem]:
    path = list(error.absolute_path)
    where = _spoken(path)
    rule = str(error.validator)
    if rule == "required":
        for key in error.validator_value:
            # a misspelt key is told where it stands, not a second time as a missing one
            misspelt = difflib.get_close_matches(key, [str(have) for have in error.instance], 1, 0.8)
            if key not in error.instance and f"'{key}'" in error.message and not misspelt:
                yield text.place(path), f"{key} is missing{where and ' in ' + where}", f"Add `{key}:`."
    elif rule in ("unevaluatedProperties", "additionalProperties"):
        wanted = sorted(_properties(error))
        for key in re.findall(r"'([^']+)'", error.message):
            if key in error.instance:
                close = difflib.get_close_matches(key, wanted, 1, 0.6)
                mend = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(wanted)}."
                yield (
                    text.place([*path, key], key=True),
                    f"{key} is not known{where and ' in ' + where}",
                    mend,
                )
    elif rule == "minItems":
        have, need = len(error.instance), int(error.validator_value)
        yield (
            text.place(path, key=True),
            f"{where} has {have} of at least {need} items",
            f"Add {need - have} more.",
        )
    elif rule == "uniqueItems":
        yield text.place(path, key=True), f"{where} has the same item twice", "Remove or change one of them."
    elif rule == "minLength":
        yield text.place(path, key=True), f"{where} is empty", "Write something."
    elif rule == "type":
        is_scalar = isinstance(error.instance, bool | int | float)
        given = "a number" if is_scalar else _GIVEN.get(type(error.instance), "of another type")
        wanted_type = _WANTED.get(str(error.validator_value), str(error.validator_value))
        mend = (
            "Put it in quotes."
            if is_scalar and error.validator_value == "string"
            else f"Write {wanted_type}."
        )
        yield text.place(path, key=True), f"{where} is {given}, not {wanted_type}", mend
    else:
        yield text.place(path, key=True), f"{where}: {error.message[-200:]}", ""


def _properties(error: ValidationError) -> set[str]:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    return set(schema.get("properties", {})) | ({"version"} if not error.absolute_path else set())


def _spoken(path: list[str | int]) -> str:
    """`seed_examples #2, question`: items count from 1, as people count."""
    return "".join(f" #{step + 1}" if isinstance(step, int) else f", {step}" for step in path).removeprefix(
        ", "
    )


def _document(text: yamltext.Text) -> Iterator[Problem]:
    """The generator hands these to git and to a file search, so they must be what they seem."""
    document = text.contents.get("document")
    if not isinstance(document, Mapping):
        return
    repo, commit, patterns = document.get("repo"), document.get("commit"), document.get("patterns")
    if isinstance(repo, str) and (repo.startswith("-") or re.match(r"\w+::", repo)):
        yield (
            text.place(["document", "repo"]),
            f"repo {repo!r} is no address of a git repository",
            "Give a URL or a path.",
        )
    if isinstance(commit, str) and not re.fullmatch(r"[0-9A-Za-z][\w./-]*", commit):
        yield (
            text.place(["document", "commit"]),
            f"commit {commit!r} is no git revision",
            "Give the commit's id.",
        )
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else []):
        place = text.place(["document", "patterns", index])
        if isinstance(pattern, str) and (
            pattern.startswith(("/", "~")) or ".." in PurePosixPath(pattern).parts
        ):
            yield (
                place,
                f"the pattern {pattern!r} leads out of the repository",
                "Give a path inside the repository.",
            )
        elif isinstance(pattern, str) and not pattern.lower().endswith((".md", ".pdf", "*", "]")):
            yield (
                place,
                f"the pattern {pattern!r} matches neither .md nor .pdf",
                "Convert the document to markdown.",
            )


def _style(text: yamltext.Text) -> Iterator[Problem]:
    lines = text.source.split("\n")
    if "version" not in text.contents:
        yield (1, 1), "version is missing, so the oldest schema is used", "Write `version: 3`."
    for number, line in enumerate(lines, 1):
        bare = line.rstrip("\r")
        if bare != bare.rstrip():
            yield (number, len(bare.rstrip()) + 1), "spaces at the end of the line", "Remove them."
    if "\r\n" in text.source:
        yield (1, 1), "the lines end as on Windows", "Save the file with LF line ends."
    if not text.source.endswith("\n"):
        yield (len(lines), len(lines[-1]) + 1), "no line end at the end of the file", "Add one."
    elif text.source.endswith("\n\n"):
        first = text.source.rstrip("\n").count("\n") + 2
        yield (first, 1), "empty lines at the end of the file", "Remove them."
    seeds = text.contents.get("seed_examples")
    if "document" not in text.contents and isinstance(seeds, list):
        with_context = [bool(seed.get("context")) for seed in seeds if isinstance(seed, Mapping)]
        if any(with_context) and not all(with_context):
            index = with_context.index(not with_context[0])
            said = "has a context, unlike" if with_context[index] else "has no context, unlike"
            yield (
                text.place(["seed_examples", index]),
                f"seed_examples #{index + 1} {said} the first",
                "Make all alike.",
            )
