"""Which environment variables may carry a secret into a job, and which of this process hold one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from ilab_jupyter.errors import InvalidInput

# Set by the server from its traits, inherited by kernels and workers. Patterns, separated by commas.
SECRETS = "ILAB_JUPYTER_SECRET_NAMES"
API_KEYS = "ILAB_JUPYTER_API_KEY_NAMES"

DEFAULT_SECRETS = ("*_KEY", "*_TOKEN", "*_PASSWORD", "*_SECRET", "AWS_ACCESS_KEY_ID")
# Narrower: the value of such a variable is sent to whatever address a job names.
DEFAULT_API_KEYS = ("*_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

_WORDS = frozenset(
    {
        *("APIKEY", "CREDENTIAL", "CREDENTIALS", "KEY", "PASS", "PASSPHRASE", "PASSWD", "PASSWORD"),
        *("PAT", "PWD", "SECRET", "SECRETS", "TOKEN"),
    }
)
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
_SHORTEST = 8


def secret_patterns() -> list[str]:
    """The patterns of names that a job's secrets may have."""
    return _patterns(SECRETS, DEFAULT_SECRETS)


def api_key_patterns() -> list[str]:
    """The patterns of names that `api_key_env` may have."""
    return _patterns(API_KEYS, DEFAULT_API_KEYS)


def check_api_key_name(name: str) -> str:
    """`name`; ValueError where `api_key_env` may not name it."""
    patterns = api_key_patterns()
    if not matches(name, patterns):
        raise ValueError(f"{name} is not among the allowed names ({', '.join(patterns)})")
    return name


def check_patterns(patterns: Iterable[str]) -> str:
    """The patterns as the value of a variable; InvalidInput where one has characters that no name has."""
    listed = list(patterns)
    for pattern in listed:
        if not re.fullmatch(r"[A-Z0-9_*]{1,64}", pattern):
            raise InvalidInput(
                f"{pattern!r} is not a pattern for the name of an environment variable.",
                "Use capital letters, digits, '_' and '*', such as *_API_KEY.",
            )
    return ",".join(listed)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches the name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def environment_secrets() -> tuple[str, ...]:
    """The values of this process's variables whose names say that they are secret, and passwords in URLs."""
    found = []
    for name, value in os.environ.items():
        if len(value) < _SHORTEST or name in _NO_SECRETS:
            continue
        if not _WORDS.isdisjoint(name.upper().split("_")):
            # A variable may also name the file that holds the secret.
            if not (value.startswith("/") and os.path.exists(value)):  # noqa: PTH110
                found.append(value)
        elif "://" in value and "@" in value and (password := _password(value)):
            found.append(password)
    return tuple(found)


def _password(address: str) -> str | None:
    try:
        password = urlsplit(address).password
    except ValueError:
        return None
    return password if password and len(password) >= _SHORTEST else None


def _patterns(variable: str, default: tuple[str, ...]) -> list[str]:
    chosen = os.environ.get(variable)
    return list(default) if chosen is None else [one for one in chosen.split(",") if one]
