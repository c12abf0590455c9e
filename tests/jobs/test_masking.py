"""Secrets in logs, events and errors are masked in every form, split, coloured or searched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.folder import JobFolder
from ilab_jupyter.jobs.logs import masking
from ilab_jupyter.jobs.logs import reading as logs
from ilab_jupyter.jobs.logs.masking import GENERAL, Mask

OWN = "correct horse+battery/staple"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq83vEjRWeJCrze8S\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
SECRETS = [
    ("login with {} now", "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ"),
    ("key {},", "sk-proj-aB3dE5gH7jK9mN1pQ3sT"),
    ("'{}'", "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ1234567890"),
    ("{}", "github_pat_11AAAAAAA0aB3dE5gH7jK9_mN1pQ3sT5vW7yZ"),
    ("id {}", "AKIAIOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("Authorization: Bearer {}", "mF_9.B5f-4.1JqM"),
    ("http://localhost:8888/lab?token={}", "8a6f1d6c3b2e4f5a"),
    ("HF_TOKEN={}", "just-a-word-17"),
    ('{{"api_key": "{}"}}', "abcdef-ghijkl"),
    ("curl --token {} x", "abcdefgh12"),
    ("jwt {}", JWT),
    ("postgresql://me:{}@host/db", "pa55word"),
    ("{}", KEY),
]
PLAIN = [
    "task-aaaaaaaaaaaaaaaaaaaaaaaaaa and disk-usage-of-the-whole-machine",
    "eos_token=<|endoftext|> pad_token_id=49152 max_new_token=200000 tokens_per_second=12345678",
    "token: unexpected end of file",
    "at 12:30:45 me@example.org wrote http://example.org/a:b/c@d",
    "loss 2.3125  learning_rate 2e-05  grad_norm 1.25",
]


def cut(path: Path, mask: Mask, at: int, *, final: bool = True) -> str:
    first = logs.read(path, 0, at, final=final, mask=mask)
    return first.text + logs.read(path, first.next_offset, 10**6, final=final, mask=mask).text


@pytest.mark.parametrize(("shape", "secret"), SECRETS)
def test_secret_patterns_are_masked_without_their_surroundings(shape: str, secret: str) -> None:
    before, after = shape.format("\0").split("\0")
    shown = GENERAL.text(f"first\n{before}{secret}{after}\nlast")
    stars = "".join("\n" if letter == "\n" else "*" for letter in secret)
    assert shown == f"first\n{before}{stars}{after}\nlast"


@pytest.mark.parametrize("text", PLAIN)
def test_training_output_is_not_masked(text: str) -> None:
    assert GENERAL.text(text) == text


@pytest.mark.parametrize(("shape", "secret"), [*SECRETS, ("password of mine: {} it is", OWN)])
def test_masking_does_not_depend_on_pieces(tmp_path: Path, shape: str, secret: str) -> None:
    path, mask = tmp_path / "log", Mask([OWN])
    text = f"🙂 begin\n{shape.format(secret)}\nend\n"
    path.write_text(text, encoding="utf-8")
    whole = mask.text(text)
    assert secret not in whole and len(whole) == len(text)
    for at in range(1, len(text.encode())):
        assert cut(path, mask, at) == whole, at


@pytest.mark.parametrize(("shape", "secret"), [*SECRETS, ("{}", OWN)])
def test_growing_log_shows_no_start_of_a_secret(tmp_path: Path, shape: str, secret: str) -> None:
    path, mask = tmp_path / "log", Mask([OWN])
    before, after = f"x\n{shape}\ny\n".format("\0").encode().split(b"\0")
    data = before + secret.encode() + after
    whole = mask.apply(data).decode()
    for step in (1, 3):
        shown, offset = "", 0
        for size in [*range(0, len(data), step), len(data)]:
            path.write_bytes(data[:size])
            piece = logs.read(path, offset, 65536, final=False, mask=mask)
            shown, offset = shown + piece.text, piece.next_offset
        # The common prefix of a kind of token, such as `hf_`, is not secret and may be shown.
        known = next(n for n in range(len(data)) if shown[len(before) + n :] == whole[len(before) + n :])
        assert shown[: len(before)] == whole[: len(before)] and known <= (0 if secret == OWN else 11)


def test_secrets_between_escape_sequences_are_masked() -> None:
    token = "hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ"
    for hidden in (
        "\x1b[1m".join(token),
        f"\x1b[31m{token[:9]}\x1b[0m{token[9:]}",
        f"{token[:7]}\x1b]0;a title\x07{token[7:]}",
        f"\x1b]8;;https://x/?token={token}\x1b\\link",
        f"{token[:5]}\x00\x08{token[5:]}",
    ):
        shown = GENERAL.text(f"a {hidden} b")
        assert "aB3dE5" not in shown.replace("\x1b[1m", "") and "5vW7yZ" not in shown.replace("\x1b[1m", "")
        assert shown.startswith("a ") and shown.endswith(" b") and len(shown) == len(hidden) + 4


def test_coloured_secret_is_masked_in_pieces_of_any_size(tmp_path: Path) -> None:
    path, mask = tmp_path / "log", Mask([OWN])
    data = "".join(f"\x1b[3{n % 8}m{letter}" for n, letter in enumerate(OWN)).encode() + b"\x1b[0m\n"
    path.write_bytes(data)
    whole = mask.apply(data).decode()
    assert not any(f"m{letter}" in whole for letter in "corehsbaty")
    for at in range(1, len(data)):
        assert cut(path, mask, at) == whole


def test_own_secret_is_masked_in_json_url_and_lines() -> None:
    mask = Mask([OWN, 'qu"o\\te-é', "first-line\nsecond-line", "short"])
    for text in (
        json.dumps({"a": 'qu"o\\te-é'}),
        json.dumps({"a": 'qu"o\\te-é'}, ensure_ascii=False),
        "https://x/?p=correct%20horse%2Bbattery%2Fstaple",
        "> first-line\n> second-line",
        f"{OWN}{OWN}",
    ):
        shown = mask.text(text)
        for part in ("qu", "te-", "correct", "battery", "staple", "-line"):
            assert part not in shown, (text, shown)
    assert mask.text("short") == "short"


def test_private_key_is_masked_also_without_its_end() -> None:
    open_key = KEY[: KEY.index("-----END")] + "more\n" * 10
    shown = GENERAL.text(open_key)
    assert set(shown) == {"*", "\n"}
    assert GENERAL.text(f"{KEY}\nafter").endswith("\nafter")


def test_secrets_of_succeeded_job_are_deleted_and_stay_masked(harness: Any) -> None:
    job = harness.submit(
        ["show_env", "MY_PASSWORD"],
        ["event", "warning", {"message": f"refused {OWN}", "n": [1, {"deep": OWN}]}],
        ["event", "result", {"result": {"echo": OWN}}],
        secrets={"MY_PASSWORD": OWN},
    )
    ended = harness.end(job.id)
    assert ended.state == "SUCCEEDED" and OWN not in ended.model_dump_json(exclude={"spec"})
    folder = harness.local.state.job(job.id)
    deadline = time.monotonic() + 10
    while folder.secrets.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert OWN in folder.attempt(1).log.read_text(), "the log on disk is not masked"
    assert OWN not in (folder.path / "masks.json").read_text()
    events = [event.model_dump_json() for event in harness.jobs.events(job.id)]
    stream = harness.jobs.watch(job.id, log_offset=0)
    streamed = [event.model_dump_json() for event in stream if event.type != "state"]
    texts = [harness.log(job.id), *events, *streamed]
    assert not any(OWN in text or "battery" in text for text in texts)
    assert '"MY_PASSWORD": "****' in texts[0] and any("refused ****" in text for text in events)


def test_failure_message_contains_no_secret(harness: Any) -> None:
    job = harness.submit(
        ["event", "error", {"cause": "custom", "message": f"no access with {OWN}", "hint": f"not {OWN}"}],
        ["exit", 1],
        secrets={"MY_PASSWORD": OWN},
    )
    failed = harness.end(job.id)
    assert failed.cause == "custom" and failed.message is not None
    assert failed.message.startswith("no access with ***")
    assert OWN not in failed.model_dump_json(exclude={"spec"})


def test_sealed_ranges_are_found_across_read_boundaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_WINDOW", 65536)
    folder = JobFolder(tmp_path)
    folder.attempt(1).path.mkdir(parents=True)
    line = f"x{OWN}y\n"
    folder.attempt(1).log.write_text(line * 10_000)
    folder.secrets.write_text(json.dumps({"A": OWN}))
    masking.seal(folder)
    assert not folder.secrets.exists()
    shown = logs.read(folder.attempt(1).log, 0, 10**6, final=True, mask=masking.mask_of(folder, 1)).text
    assert shown == f"x{'*' * len(OWN)}y\n" * 10_000


def test_masking_is_fast_for_any_text(tmp_path: Path) -> None:
    ordinary = b"".join(
        b"step %d of 20000  loss 1.%04d  tokens_per_second %d\n" % (n, n, n) for n in range(20_000)
    )
    nasty = [b"eos_token=" * 6000, b"xsk-" * 16_000, b"hf_" * 20_000, b"eyJ" * 20_000, b"://a:" * 12_000]
    nasty += [b"\x1b[" * 30_000, b"\x1b]" * 30_000, b"-----BEGIN PRIVATE KEY" * 2900, b"token" * 12_000]
    times = []
    for _ in range(5):
        started = time.process_time()
        assert GENERAL.apply(ordinary) is ordinary
        times.append(time.process_time() - started)
    # A tenth of the benchmark's figure, so that a busy machine does not fail.
    assert len(ordinary) / min(times) > 20e6
    for text in nasty:
        started = time.process_time()
        GENERAL.apply(text)
        GENERAL.held(text)
        assert time.process_time() - started < 1.0, text[:20]
