"""The documents of a knowledge leaf: found where the leaf says, judged, and copied. What is there is data: it
is never checked out, run, or followed out of its folder.
"""

from __future__ import annotations

import codecs
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ilab_jupyter import paths
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.taxonomy import address, git, markdown, qna, repository, yamltext
from ilab_jupyter.taxonomy.finding import Finding, Severity, shown

SUFFIXES = (".md", ".pdf")
MAX_FILES = repository.MAX_FILES


@dataclass(frozen=True)
class Limits(git.Limits):
    """What the documents of one leaf may take: time and bytes to fetch them, and bytes of the documents."""

    document_bytes: int = 256_000_000


DEFAULT = Limits()


@dataclass(frozen=True)
class _Found:
    """A file that a pattern could match; `save` writes its bytes to a new file."""

    path: str
    size: int
    kind: str
    save: Callable[[Path], None]


class _Wrong(Exception):
    """Something is wrong at a place in the leaf."""

    def __init__(
        self, path: Sequence[str | int], message: str, hint: str, severity: Severity = "error"
    ) -> None:
        super().__init__(message)
        self.path, self.message, self.hint, self.severity = path, message, hint, severity


def gather(
    root: Path,
    name: str,
    text: yamltext.Text,
    target: Path,
    positions: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT,
) -> list[Finding]:
    """Copy the documents of the valid knowledge leaf `name` into the new folder `target`, by their own paths.

    `places` maps repository addresses to local folders that stand for them: a folder that is a repository
    with the leaf's commit is read at this commit, any other as it is. The findings stand at the line of
    `repo`, `commit` or the pattern; where one is an error, `target` is not there. Empty documents are left
    out, and are an error only where there is no other.
    """
    document = text.contents["document"]
    patterns = [str(pattern) for pattern in document["patterns"]]
    try:
        found = _source(root, str(document["repo"]), str(document["commit"]), positions or {}, limits)
        chosen = _chosen(found, patterns, limits)
        target.mkdir(parents=True)
        problems = list(_copy(chosen, target))
    except _Wrong as wrong:
        problems = [wrong]
    except OSError as error:
        raise Unavailable(
            f"The documents of {name} cannot be copied: {error.strerror}.", "Check the disk."
        ) from error
    if any(problem.severity == "error" for problem in problems):
        shutil.rmtree(target, ignore_errors=True)
    return [
        qna.finding(
            name,
            problem.severity,
            text.position(["document", *problem.path]),
            problem.message,
            problem.hint,
        )
        for problem in problems
    ]


def _source(root: Path, repo: str, commit: str, positions: Mapping[str, str], limits: Limits) -> list[_Found]:
    """Every file of the repository that the leaf names."""
    folder = held = None
    if repo in positions:
        folder = paths.given(positions[repo]).absolute()
        held = repository.local(folder, commit)
        if held is None and repository.is_repository(folder):
            raise _Wrong(
                ["commit"],
                f"the repository {shown(str(folder), 200)} has no commit {shown(commit)!r}",
                "Fetch it there, or give a folder that is no git repository: its files are read as they are.",
            )
    elif not address.is_remote(repo):
        relative = repo.removeprefix("file:")
        try:
            folder = (root / relative).resolve()
        except RuntimeError:
            raise _Wrong(
                ["repo"],
                f"the folder {shown(relative)!r} is a link that leads to itself",
                "Correct `repo:`, or the link.",
            ) from None
        if not folder.is_relative_to(root.resolve()):
            raise _Wrong(
                ["repo"],
                f"the folder {shown(relative)!r} is outside the taxonomy",
                "Move it into the taxonomy.",
            )
    if folder is not None and held is None:
        if not folder.is_dir():
            raise _Wrong(
                ["repo"],
                f"the document folder {shown(str(folder), 200)} does not exist",
                "Create it, or correct `repo:`.",
            )
        return list(_on_disk(folder.resolve()))
    try:
        return list(_committed(held or repository.fetched(repo, commit, limits)))
    except repository.NoCommit:
        raise _Wrong(
            ["commit"],
            f"the repository has no commit {shown(commit)!r}",
            "Give the id of a commit that it has.",
        ) from None
    except git.OutOfBounds as error:
        raise _Wrong(
            ["repo"],
            f"the repository is not fetched: {error.said}",
            "Put the documents in a smaller repository.",
        ) from None
    except git.Failed as error:
        raise _Wrong(
            ["repo"],
            f"the repository cannot be fetched: {shown(error.said, 300)}",
            "Check `repo:` and the network, or give a local folder in `documents`.",
        ) from None


def _committed(held: repository.Repository) -> Iterator[_Found]:
    for file in held.files():

        def save(target: Path, file: repository.File = file) -> None:
            held.save(file, target)

        yield _Found(file.path, file.size, file.kind, save)


def _on_disk(folder: Path) -> Iterator[_Found]:
    count = 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(folder for folder in folders if folder != ".git")
        for file in sorted(files):
            count += 1
            if count > MAX_FILES:
                raise _Wrong(
                    ["repo"], f"the folder has more than {MAX_FILES:,} files", "Choose a smaller folder."
                )
            position = Path(here) / file
            facts = position.lstat()
            kind = (
                "file" if stat.S_ISREG(facts.st_mode) else "link" if stat.S_ISLNK(facts.st_mode) else "other"
            )
            if kind == "link" and position.is_file() and position.resolve().is_relative_to(folder):
                # a link to another document of the same folder is as good as that
                kind, facts = "file", position.stat()

            def save(target: Path, position: Path = position) -> None:
                shutil.copyfile(position, target)

            yield _Found(position.relative_to(folder).as_posix(), facts.st_size, kind, save)


def _chosen(found: Sequence[_Found], patterns: Sequence[str], limits: Limits) -> list[tuple[int, _Found]]:
    """(place of the first pattern that names it, file) for each document, sorted by path."""
    chosen: dict[str, tuple[int, _Found]] = {}
    for index, pattern in enumerate(patterns):
        wanted = tuple(part for part in pattern.split("/") if part not in ("", "."))
        matched = [file for file in found if matches(file.path, wanted)]
        read = [file for file in matched if file.path.lower().endswith(SUFFIXES)]
        where: tuple[str | int, ...] = ("patterns", index)
        if not read:
            least = "no .md or .pdf" if not matched else "only files that are neither .md nor .pdf"
            verb = "matches" if not matched else "match"
            raise _Wrong(where, f"{least} {verb} {shown(pattern)!r}", "Correct the pattern.")
        for file in read:
            if file.kind != "file":
                said = (
                    "is a link, and links are not followed" if file.kind == "link" else "is no ordinary file"
                )
                raise _Wrong(
                    where, f"{shown(file.path)!r} {said}", "Put the document itself into the repository."
                )
            chosen.setdefault(file.path, (index, file))
        total = sum(file.size for _, file in chosen.values())
        if total > limits.document_bytes:
            raise _Wrong(
                where,
                f"the documents have {total:,} bytes, more than the {limits.document_bytes:,} that are read",
                "Split the leaf, or name fewer documents.",
            )
    return [chosen[path] for path in sorted(chosen)]


def matches(path: str, wanted: Sequence[str]) -> bool:
    """Whether a path matches a pattern, given in parts, as Python's own glob does: `**` matches any number
    of folders, and a name that starts with a dot is matched by a part that does.
    """
    parts = PurePosixPath(path).parts
    # reachable[i]: the first i parts of the pattern match the parts of the path so far
    reachable = _skipped({0}, wanted)
    for part in parts:
        onward = set()
        for state in reachable:
            if state == len(wanted):
                continue
            if wanted[state] == "**":
                if not part.startswith("."):
                    onward.add(state)
            elif fnmatchcase(part, wanted[state]) and (not part.startswith(".") or wanted[state][:1] == "."):
                onward.add(state + 1)
        reachable = _skipped(onward, wanted)
    return len(wanted) in reachable


def _skipped(states: set[int], wanted: Sequence[str]) -> set[int]:
    """With the states behind each `**`, which may stand for no folder at all."""
    for state in sorted(states):
        while state < len(wanted) and wanted[state] == "**":
            state += 1
            states.add(state)
    return states


def _copy(chosen: Sequence[tuple[int, _Found]], target: Path) -> Iterator[_Wrong]:
    """Copies each document, and tells those that cannot be taught from."""
    copied = 0
    silent: list[str] = []
    for index, file in chosen:
        parts = PurePosixPath(file.path).parts
        position = target.joinpath(*parts)
        named = shown(file.path)
        where: tuple[str | int, ...] = ("patterns", index)
        if any(part in ("..", ".git") for part in parts) or file.path.startswith("/"):
            yield _Wrong(where, f"{named!r} is no path of a document", "Rename it.")
            continue
        position.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.save(position)
        except git.Failed as error:
            yield _Wrong(where, f"{named!r}: {error.said}", "Check the repository.")
            continue
        if _is_empty(position):
            position.unlink()
            yield _Wrong(where, f"{named!r} is empty", "Write it, or take it out of the patterns.", "style")
            continue
        wrong = _unreadable(position)
        if wrong is not None:
            copied += 1
            yield _Wrong(where, f"{named!r} {wrong[0]}", wrong[1])
        elif position.suffix.lower() == ".md" and not markdown.has_text(position):
            position.unlink()
            silent.append(named)
            yield _Wrong(
                where, f"{named!r} has no text below its headings", "Write sentences in it.", "style"
            )
        else:
            copied += 1
    if not copied:
        said = "text below its headings" if silent else "anything in it"
        listed = f": {', '.join(map(repr, silent[:3]))}" if silent else ""
        yield _Wrong(["patterns"], f"no document has {said}{listed}", "Write sentences in one of them.")


def _is_empty(file: Path) -> bool:
    with file.open("rb") as stream:
        return not any(chunk.strip() for chunk in iter(lambda: stream.read(1 << 20), b""))


def _unreadable(file: Path) -> tuple[str, str] | None:
    """Why the generator would stumble over a document, and what to do."""
    with file.open("rb") as stream:
        head = stream.read(1024)
        if head.startswith(b"version https://git-lfs.github.com/"):
            return "is only a pointer to Git LFS", "Commit the document itself."
        if file.suffix.lower() == ".pdf":
            hint = "Export it as PDF again, or convert it to markdown."
            return None if b"%PDF-" in head else ("is no PDF", hint)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "is UTF-16, not UTF-8 text", "Save it as UTF-8."
        stream.seek(0)
        decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
        for chunk in itertools.chain(iter(lambda: stream.read(1 << 20), b""), [b""]):
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                return f"is not UTF-8 text, in line {line}", "Save it as UTF-8."
            if "\0" in text:
                line += text.count("\n", 0, text.index("\0"))
                return f"is no text: line {line} has a zero byte", "Export it as text again."
            line += text.count("\n")
    return None


def committed(folder: Path) -> str:
    """Make `folder` a git repository of its files, one commit that is always the same for them; its id."""
    ours = {**git.OURS, **git.IDENTITY}
    git.ask(folder, "init", "--quiet", "--initial-branch=main", "--template=", more=ours)
    git.ask(folder, "add", "--all", "--force", more=ours)
    git.ask(folder, "commit", "--quiet", "--message=Documents", more=ours)
    return git.ask(folder, "rev-parse", "HEAD", more=ours).strip()
