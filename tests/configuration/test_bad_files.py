"""An invalid file is refused with line and column."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ilab_jupyter.configuration.file import BadFile
from ilab_jupyter.core import Config
from ilab_jupyter.errors import InvalidInput, NotFound, Unavailable

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)

BAD: dict[str, tuple[bytes | str, int, int, str]] = {
    "a bracket that is never closed": ("train:\n  lora: [1, 2\n", 2, 9, "flow"),
    "a quotation that is never closed": ('chat:\n  model: "granite\n', 2, 10, "quoted"),
    "a tab for indentation": ("train:\n\tnum_epochs: 3\n", 2, 1, "token"),
    "a value where a section goes on": ("train: 3\n  num_epochs: 3\n", 2, 13, "mapping"),
    "wrong indentation": ("train:\n    num_epochs: 3\n  device: cpu\n", 3, 3, "block"),
    "a key twice": ("train:\n  num_epochs: 3\n  device: cpu\n  num_epochs: 4\n", 4, 3, "a second time"),
    "a section twice": ("train: {}\nchat: {}\ntrain: {}\n", 3, 1, "a second time"),
    "text for a number": ("train:\n  num_epochs: three\n", 2, 15, "train.num_epochs"),
    "a number with a fraction for one without": ("train:\n  num_epochs: 2.5\n", 2, 15, "train.num_epochs"),
    "zero epochs": ("train:\n  # none\n  num_epochs: 0\n", 3, 15, "greater than 0"),
    "a list for a text": ("chat:\n  model: [a, b]\n", 2, 10, "chat.model"),
    "a text for a section": ("version: 1.0.0\nchat: hello\n", 2, 7, "chat"),
    "a list for a section": ("train:\n- num_epochs: 3\n", 2, 1, "train"),
    "nothing where a text must be": ("generate:\n  taxonomy_path:\n", 2, 3, "generate.taxonomy_path"),
    "not a number": ("chat:\n  temperature: .nan\n", 2, 16, "finite"),
    "an infinite number": ("train:\n  additional_args:\n    learning_rate: .inf\n", 3, 20, "finite"),
    "a number too large for any machine": (f"train:\n  num_epochs: 1{'0' * 400}\n", 2, 15, "401 characters"),
    "a device that there is not": ("train:\n  device: tpu\n", 2, 11, "train.device"),
    "a port in quotes": ("serve:\n  server:\n    port: '8000'\n", 3, 11, "serve.server.port"),
    "a port beyond all ports": ("serve:\n  server: {port: 80000}\n", 2, 18, "65535"),
    "an unknown backend": ("generate:\n  teacher:\n    backend: triton\n", 3, 14, "generate.teacher.backend"),
    "an unknown log level": ("general:\n  log_level: LOUD\n", 2, 14, "log level"),
    "a log format of no logging": ("general:\n  log_format: '%(levelname'\n", 2, 15, "general.log_format"),
    "a model without a path": ("models:\n  - id: a\n    family: b\n", 2, 5, "it is missing"),
    "one wrong item of a list": (
        "serve:\n  vllm:\n    vllm_args:\n    - a\n    - 4\n",
        5,
        7,
        "serve.vllm.vllm_args",
    ),
    "a date in place of a text": ("chat:\n  context: 2024-02-03\n", 2, 12, "chat.context"),
    "a date that is none": ("chat:\n  context: 2024-13-45\n", 2, 12, "month"),
    "a version that is to come": ("version: 2.0.0\n", 1, 10, "version"),
    "a number for the version": ("version: 1.0\n", 1, 10, "version"),
    "a Python object": ("chat:\n  model: !!python/object/apply:os.system ['true']\n", 2, 10, "tag"),
    "an unknown tag": ("chat:\n  model: !env HOME\n", 2, 10, "tag"),
    "bytes": ("chat:\n  model: !!binary aGVsbG8=\n", 2, 10, "tag"),
    "an alias of nothing": ("chat:\n  model: *missing\n", 2, 10, "alias"),
    "a list that contains itself": ("chat:\n  model: &a [*a]\n", 2, 14, "contains itself"),
    "a merge that contains itself": ("train: &t\n  <<: *t\n", 2, 7, "contains itself"),
    "a billion laughs": (LAUGHS, 5, 4, "more than 20,000 values"),
    "brackets a hundred thousand deep": ("a: " + "[" * 100_000, 1, 35, "deeper than 32"),
    "a million values": ("a: [" + "1, " * 100_000 + "1]", 1, 14_993, "more than 5,000 values"),
    "a list as a key": ("? [a, b]\n: 1\n", 1, 3, "key"),
    "a second document": ("chat: {}\n---\ntrain: {}\n", 2, 1, "second document"),
    "no mapping at all": ("- chat\n- train\n", 1, 1, "key: value"),
    "a sentence": ("hello world\n", 1, 1, "key: value"),
    "bytes that are not UTF-8": (b"chat:\n  model: gr\xfcn\n", 2, 12, "UTF-8"),
    "a character that no text has": ("chat:\n  model: a\x00b\n", 2, 11, "U+0000"),
    "half a character of UTF-16": (b"\xff\xfec\x00h\x00a", 1, 3, "UTF-16"),
    "UTF-16 that does not say so": ("chat: {}\n".encode("utf-16-le"), 1, 2, "U+0000"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_names_its_line_and_column(case: str, tmp_path: Path) -> None:
    content, line, column, said = BAD[case]
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.monotonic()
    with pytest.raises(BadFile) as caught:
        Config.load(path)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert said in caught.value.problem
    assert f"{path}, line {line}, column {column}: " in caught.value.message
    assert caught.value.hint and caught.value.status == 422
    assert time.monotonic() - began < 20


def test_first_invalid_value_is_named_and_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train:\n  device: tpu\n  num_epochs: 0\nchat:\n  temperature: hot\n")
    with pytest.raises(BadFile, match=r"line 2, column 11: train\.device.*\(2 more wrong\)"):
        Config.load(path)


def test_too_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with path.open("wb") as stream:
        stream.truncate(2**30)
    began = time.monotonic()
    with pytest.raises(BadFile, match="more than the 1,000,000 that are read"):
        Config.load(path)
    assert time.monotonic() - began < 5


def test_pipe_does_not_block_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nothing", tmp_path / "nothing" / "below"):
        with pytest.raises(NotFound):
            Config.load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_names_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train: {}\n")
    path.chmod(0)
    with pytest.raises(Unavailable, match=path.owner()):
        Config.load(path)


def test_a_bad_file_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train:\n  num_epochs: 3\n")
    config = Config.load(path)
    path.write_text("train:\n  num_epochs: three\n")
    with pytest.raises(BadFile):
        config.set("train.device", "cuda")
    assert path.read_text() == "train:\n  num_epochs: three\n"


CLOSED = """
import os, sys
from pathlib import Path
from ilab_jupyter.core import Config, Model, Taxonomy
from ilab_jupyter.errors import PublicError
inside = Path(sys.argv[1]) / "inside"
os.setgid(65534), os.setuid(65534)
for call in (
    Config.load, Taxonomy.tree, Taxonomy.init, Config.init,
    lambda path: Config.init(profile=path), lambda path: Model.compare(path, path),
):
    try:
        call(inside)
    except PublicError as error:
        print(type(error).__name__, bool(error.hint))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folder_without_permission_is_reported(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, str(closed)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["True"] * 6, done.stdout


@pytest.mark.parametrize("value", ["\ud800", {"a": "\udfff"}, {"\ud800": 1}])
def test_unpaired_surrogate_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="unpaired surrogate"):
        Config().set("train.additional_args.x", value)


@pytest.mark.parametrize("depth", [33, 900])
def test_too_deeply_nested_value_is_refused(depth: int) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(InvalidInput, match="nested more than 32 deep"):
        Config().set("train.additional_args.x", value)
