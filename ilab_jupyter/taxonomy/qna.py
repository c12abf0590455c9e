"""Judges one qna.yaml: InstructLab's own schemas, plus what its generator would stumble over later. Light."""

from __future__ import annotations

import datetime
import difflib
import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from instructlab.schema import schema_base, schema_versions
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource
from referencing.jsonschema import DRAFT202012

from ilab_jupyter.taxonomy import address, yamltext
from ilab_jupyter.taxonomy.finding import Finding, Severity, shown
from ilab_jupyter.taxonomy.folder import DOMAINS, is_leaf

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]

MAX_FINDINGS = 100

Kind = Literal["knowledge", "grounded", "freeform"]
Problem = tuple[yamltext.Position, str, str]


def judge(root: Path, name: str) -> list[Finding]:
    """The findings of the leaf at path `name` below `root`, in the order of their lines, at most
    MAX_FINDINGS.
    """
    return look(root, name)[1]


def look(root: Path, name: str) -> tuple[yamltext.Text | None, list[Finding]]:
    """The leaf's text where it can be read at all, and the findings of `judge`."""
    try:
        text = read(root, name)
    except yamltext.Broken as broken:
        position = (broken.line, broken.column)
        return None, [finding(name, "error", position, broken.message, broken.hint)]
    found = [finding(name, "error", *problem) for problem in _errors(text, name)]
    found += [finding(name, "style", *problem) for problem in _style(text)]
    # an error is never left out for the number of the others
    found = sorted(found, key=lambda item: item.severity)[:MAX_FINDINGS]
    found.sort(key=lambda item: (item.line, item.column, item.severity, item.message))
    return text, found


def read(root: Path, name: str) -> yamltext.Text:
    """The leaf's text, whose contents are keys with values; Broken for anything else."""
    if not is_leaf(name):
        said = f"the file is named {shown(PurePosixPath(name).name)}, and only qna.yaml is read"
        raise yamltext.Broken(said, hint="Rename it to qna.yaml.")
    if not all(char.isprintable() for char in name):
        raise yamltext.Broken(
            "the name of a folder has characters that cannot be shown", hint="Rename the folder."
        )
    file = root / name
    try:
        if not file.resolve().is_relative_to(root.resolve()):
            raise yamltext.Broken(
                "the file is a link that leads out of the taxonomy", hint="Put the file itself here."
            )
        text = yamltext.read_file(file)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        why = getattr(error, "strerror", None) or "it is a link that leads to itself"
        hint = "Check the file and its permissions."
        raise yamltext.Broken(f"the file cannot be read: {why}", hint=hint) from None
    if text.contents is None or text.contents == {}:
        raise yamltext.Broken("the file is empty", hint="Write the leaf, starting with `version: 3`.")
    if not isinstance(text.contents, Mapping):
        raise yamltext.Broken(
            "the top level is not a set of keys with values",
            text.position([]),
            "Start with keys such as `version: 3`, not with a list or a sentence.",
        )
    return text


def finding(name: str, severity: Severity, position: yamltext.Position, message: str, hint: str) -> Finding:
    """A finding in the file `name`, whose name may hold what cannot be shown."""
    return Finding(
        file=shown(name, 1000),
        line=position[0],
        column=position[1],
        severity=severity,
        message=message,
        hint=hint,
    )


def repositories(root: Path, names: Iterable[str]) -> list[str]:
    """The repositories that the knowledge leaves among these valid ones name, each once."""
    found: dict[str, None] = {}
    for name in names:
        text, _ = look(root, name)
        if text is not None and kind_of(text.contents) == "knowledge":
            found[str(text.contents["document"]["repo"])] = None
    return list(found)


def kind_of(contents: Mapping[str, Any]) -> Kind:
    """What a valid leaf teaches; a skill with a context in any of its seed examples is a grounded one."""
    if "document" in contents:
        return "knowledge"
    return "grounded" if any(seed.get("context") for seed in contents["seed_examples"]) else "freeform"


# Of one file; who has more begins with these.
MOST_ERRORS = 300
_WANTED = {"string": "a text", "array": "a list", "object": "a set of keys", "integer": "a whole number"}


@functools.cache
def _schema(version: int, name: str) -> Resource[Any]:
    try:
        source = schema_base().joinpath(f"v{version}", name).read_text(encoding="utf-8")
    except OSError as error:
        raise NoSuchResource(name) from error
    return Resource.from_contents(json.loads(source), default_specification=DRAFT202012)


@functools.cache
def _validator(version: int, domain: str) -> Any:
    schema = _schema(version, f"{domain}.json").contents
    # here, because its import takes seconds, and a server that judges no leaf should not pay for it
    from jsonschema.validators import extend, validator_for  # type: ignore[import-untyped]

    return extend(validator_for(schema), {"uniqueItems": _unique})(
        schema,
        registry=Registry(retrieve=lambda uri: _schema(version, uri)),  # type: ignore[call-arg]
    )


def _unique(_: Any, wanted: bool, items: Any, __: Any) -> Iterator[ValidationError]:
    """As jsonschema's own rule, which compares each item with each other one."""
    if wanted and isinstance(items, list) and next(_repeated(items), None) is not None:
        from jsonschema.exceptions import ValidationError

        yield ValidationError("it has the same item twice")


@functools.cache
def _versions() -> tuple[int, ...]:
    return tuple(sorted(int(folder.name[1:]) for folder in schema_versions()))


def _errors(text: yamltext.Text, name: str) -> Iterator[Problem]:
    version, known = text.contents.get("version", 1), _versions()
    hint = f"Write `version: {known[-1]}`."
    if not isinstance(version, int) or isinstance(version, bool) or version not in known:
        said = shown(repr(version) if isinstance(version, str | float | bool) else _given(version))
        if isinstance(version, int) and not isinstance(version, bool):
            said = str(version) if abs(version) < 10**20 else "a huge number"
        yield text.position(["version"]), f"version is {said}, not one of {[*known]}", hint
        return
    domain = PurePosixPath(name).parts[0]
    if domain not in DOMAINS:
        domain = "knowledge" if "document" in text.contents else "compositional_skills"
    if _schema(version, f"{domain}.json").contents.get("deprecated"):
        has = "has no `version`" if "version" not in text.contents else f"has version {version}"
        position = text.position(["version"], key=True)
        yield position, f"{domain} {has}, and the least that is read is {known[-1]}", hint
        return
    for error in itertools.islice(_validator(version, domain).iter_errors(text.contents), MOST_ERRORS):
        yield from _explain(text, error)
    if domain == "knowledge":
        yield from _document(text)


def _explain(text: yamltext.Text, error: ValidationError) -> Iterator[Problem]:
    path = list(error.absolute_path)
    rule, given = str(error.validator), error.instance
    where = _spoken(path)
    within = where and f" in {where}"
    if rule == "required":
        closed = {"unevaluatedProperties", "additionalProperties"} & set(error.schema)
        for key in error.validator_value:
            if key in given or f"'{key}'" not in error.message:
                continue
            unknown = [have for have in given if have not in _properties(error)]
            misspelt = difflib.get_close_matches(key, unknown, 1, 0.8)
            if not misspelt:
                yield text.position(path), f"{key} is missing{within}", f"Add `{key}:`."
            elif not closed:
                # a misspelt key is reported once, at its position
                position = text.position([*path, misspelt[0]], key=True)
                yield position, f"{shown(misspelt[0])} is not known{within}", f"Did you mean `{key}`?"
    elif rule in ("unevaluatedProperties", "additionalProperties"):
        wanted = sorted(_properties(error))
        for key in given:
            if key not in wanted:
                close = difflib.get_close_matches(key[:80], wanted, 1, 0.6)
                hint = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(wanted)}."
                yield text.position([*path, key], key=True), f"{shown(key)} is not known{within}", hint
    elif rule == "minItems":
        need = int(error.validator_value)
        message = f"{where} has {len(given)} of at least {need} items"
        yield text.position(path, key=True), message, f"Add {need - len(given)} more."
    elif rule == "uniqueItems":
        hint = "Remove or change one of them."
        repeated = list(_repeated(given))
        for first, second in repeated:
            yield text.position([*path, second]), f"{where} #{second + 1} is the same as #{first + 1}", hint
        if not repeated:
            yield text.position(path, key=True), f"{where} has the same item twice", hint
    elif rule == "minLength":
        yield text.position(path, key=True), f"{where} is empty", "Write something."
    elif rule == "type":
        wanted_type = _WANTED.get(str(error.validator_value), str(error.validator_value))
        quotes = error.validator_value == "string" and not isinstance(given, list | dict | type(None))
        hint = "Put it in quotes." if quotes else f"Write {wanted_type}."
        yield text.position(path, key=True), f"{where} is {_given(given)}, not {wanted_type}", hint
    else:
        hint = f"Compare with a leaf of version {_versions()[-1]} that is valid."
        yield text.position(path, key=True), f"{where}: {shown(error.message, 200)}", hint


def _given(value: Any) -> str:
    for kind, spoken in (
        (bool, "yes or no"),
        (int | float, "a number"),
        (str, "a text"),
        (list, "a list"),
        (Mapping, "a set of keys"),
        (datetime.date, "a date"),
        (type(None), "empty"),
    ):
        if isinstance(value, kind):
            return spoken
    return "of another type"


def _properties(error: ValidationError) -> set[str]:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    return set(schema.get("properties", {})) | ({"version"} if not error.absolute_path else set())


def _repeated(items: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """(first, second) place of each item that is here again."""
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        first = seen.setdefault(json.dumps(item, sort_keys=True, default=str), index)
        if first != index:
            yield first, index


def _spoken(path: list[str | int]) -> str:
    """`seed_examples #2, question`: items count from 1, as people count."""
    steps = (f" #{step + 1}" if isinstance(step, int) else f", {shown(step)}" for step in path)
    return "".join(steps).removeprefix(", ")


def _document(text: yamltext.Text) -> Iterator[Problem]:
    """What is handed to git and to a file search must be what it seems."""
    document = text.contents.get("document")
    if not isinstance(document, Mapping):
        return
    repo, commit, patterns = document.get("repo"), document.get("commit"), document.get("patterns")
    if isinstance(repo, str) and repo and (wrong := address.wrong(repo)):
        position = text.position(["document", "repo"])
        yield (
            position,
            f"repo {shown(repo)!r} is no address of a git repository: {wrong}",
            "Give a URL such as https://host/name, or the path of a folder.",
        )
    if isinstance(commit, str) and commit and not address.COMMIT.fullmatch(commit):
        position = text.position(["document", "commit"])
        yield position, f"commit {shown(commit)!r} is no git revision", "Give the commit's id."
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else []):
        position = text.position(["document", "patterns", index])
        if not isinstance(pattern, str) or not pattern:
            continue
        if pattern.startswith(("/", "~")) or ".." in PurePosixPath(pattern).parts:
            yield (
                position,
                f"the pattern {shown(pattern)!r} leads out of the repository",
                "Give a path inside the repository.",
            )
        elif not pattern.lower().endswith((".md", ".pdf", "*", "]")):
            yield (
                position,
                f"the pattern {shown(pattern)!r} matches neither .md nor .pdf",
                "Convert the document to markdown.",
            )


def _style(text: yamltext.Text) -> Iterator[Problem]:
    lines = text.source.split("\n")
    yield from _cut_by_comments(text)
    if "version" not in text.contents:
        yield (1, 1), "version is missing, so the oldest schema is used", "Write `version: 3`."
    for number, line in enumerate(lines, 1):
        bare = line.removesuffix("\r")
        if re.search(r"[ \t]$", bare):
            yield (number, len(bare.rstrip(" \t")) + 1), "spaces at the end of the line", "Remove them."
    windows = next((number for number, line in enumerate(lines, 1) if line.endswith("\r")), 0)
    if windows:
        position = (windows, len(lines[windows - 1]))
        yield position, "the lines end as on Windows", "Save the file with LF line ends."
    if not text.source.endswith("\n"):
        yield (len(lines), len(lines[-1]) + 1), "no line end at the end of the file", "Add one."
    elif text.source.endswith(("\n\n", "\n\r\n")):
        first = text.source.rstrip("\r\n").count("\n") + 2
        yield (first, 1), "empty lines at the end of the file", "Remove them."
    seeds = text.contents.get("seed_examples")
    if "document" not in text.contents and isinstance(seeds, list):
        yield from _uneven(text, seeds)


def _cut_by_comments(text: yamltext.Text) -> Iterator[Problem]:
    """Texts without quotes that a `#` ends: YAML takes the rest of the line for a comment."""
    for node in yamltext.scalars(text.root):
        comment = yamltext.comment_behind(text.source, node)
        if comment is not None:
            position = yamltext.position_of(text.source, node.end_mark.index)
            said = f"the text ends before {shown(comment, 40)!r}, which YAML takes for a comment"
            yield position, said, "Put the text in quotes, or write the comment on a line of its own."


def _uneven(text: yamltext.Text, seeds: Sequence[Any]) -> Iterator[Problem]:
    """The generator goes by the first seed: a context that only some have is lost, or missed."""
    known = {
        index: bool(seed.get("context")) for index, seed in enumerate(seeds) if isinstance(seed, Mapping)
    }
    for index, has in known.items():
        if has != next(iter(known.values())):
            said = "has a context, unlike" if has else "has no context, unlike"
            position = text.position(["seed_examples", index])
            yield position, f"seed_examples #{index + 1} {said} the first", "Make all alike."
            return
