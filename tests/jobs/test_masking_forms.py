"""Secrets of the environment, and secrets in other encodings, are masked too."""

from __future__ import annotations

import base64
import html
import time
from typing import Any
from urllib.parse import quote_plus

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.logs.masking import Mask
from ilab_jupyter.jobs.logs.tokens import plain
from ilab_jupyter.secret_names import check_patterns, environment_secrets

KEY = "kd82-<walrus>&'shine'+93/Zq"
FORMS = {
    "base64": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 of a user and a password": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 of two letters more": lambda text: base64.b64encode(f"ab{text}cd".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "HTML": html.escape,
    "HTML with decimal quotes": lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    "HTML without quotes": lambda text: html.escape(text, quote=False),
    "a form": quote_plus,
    "hexadecimal": lambda text: text.encode().hex(),
    "zero-width spaces": "\u200b".join,
    "joiners": "\u2060".join,
    "byte order marks": "\ufeff".join,
    "soft hyphens": "\u00ad".join,
    "right-to-left marks": "\u200f".join,
}


@pytest.mark.parametrize("form", FORMS)
def test_secret_in_another_form_is_masked(form: str) -> None:
    written = FORMS[form](KEY)
    shown = Mask([KEY]).text(f"before {written} after")
    assert shown.startswith("before ") and shown.endswith(" after")
    middle = shown[len("before ") : -len(" after")]
    # The characters at both ends of base64 also depend on their neighbours.
    assert middle.count("*") >= 0.7 * len(KEY)
    readable, _ = plain(middle.encode())
    assert KEY[3:12].encode() not in readable and written[6:20] not in shown


@pytest.mark.parametrize("form", FORMS)
def test_secret_at_end_of_growing_log_is_held_back(form: str) -> None:
    written = FORMS[form](KEY).encode()
    mask = Mask([KEY])
    assert mask.held(b"before " + written[: len(written) // 2]) > 0


def test_field_name_that_is_a_secret_is_masked() -> None:
    assert KEY not in str(Mask([KEY]).value({"result": {KEY: [{KEY: 1}]}}))


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", "a-plain-word-of-a-key", True),
        ("MY_SERVICE_PASSWORD", "correct horse", True),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI", True),
        ("SOME_TOKEN", "zzzz-yyyy-xxxx", True),
        ("TOKENIZERS_PARALLELISM", "falsefalse", False),
        ("MAX_TOKENS", "1000000000", False),
        ("PWD", "/srv/anything", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/hostname", False),
        ("SHORT_KEY", "abc", False),
    ],
)
def test_variable_is_a_secret_by_its_name(
    name: str, value: str, secret: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert (value in environment_secrets()) is secret


def test_password_in_an_environment_url_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANY_DATABASE_URL", "postgresql://me:pass-of-words@host/db")
    assert "pass-of-words" in environment_secrets()


def test_environment_key_is_masked_in_all_job_output(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    job = harness.submit(
        ["show_env", "SOME_API_KEY"],
        ["event", "warning", {"message": f"refused {KEY}"}],
        ["event", "error", {"cause": "custom", "message": f"no access with {KEY}", "hint": f"not {KEY}"}],
        ["exit", 1],
    )
    failed = harness.end(job.id)

    def texts() -> list[str]:
        events = [event.model_dump_json() for event in harness.jobs.events(job.id)]
        return [harness.log(job.id), harness.jobs.get(job.id).model_dump_json(exclude={"spec"}), *events]

    assert failed.message is not None and failed.message.startswith("no access with ***")
    assert not any("walrus" in text for text in texts())
    masks = harness.local.state.job(job.id).path / "masks.json"
    deadline = time.monotonic() + 10
    while not masks.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # A server that is started later may have another key.
    monkeypatch.delenv("SOME_API_KEY")
    assert not any("walrus" in text for text in texts())


@pytest.mark.parametrize("pattern", ["", "a b", "PATH;", "lower_key", "A" * 100])
def test_secret_name_pattern_with_other_characters_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        check_patterns([pattern])


def test_administrator_configures_secret_names(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILAB_JUPYTER_SECRET_NAMES", "MY_*")
    harness.submit(["print"], secrets={"MY_THING": "anything at all"})
    with pytest.raises(InvalidInput, match="MY_\\*"):
        harness.submit(["print"], secrets={"SOME_API_KEY": "anything at all"})
    monkeypatch.setenv("ILAB_JUPYTER_SECRET_NAMES", "*")
    with pytest.raises(InvalidInput):
        harness.submit(["print"], secrets={"LD_PRELOAD": "anything at all"})
