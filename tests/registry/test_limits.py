"""Configurations that no machine can load, and patterns that take for ever, are refused before loading."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import Models, limits

Make = Callable[..., Path]


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**6},
        {"n_layer": 10**6},
        {"num_layers": -1},
        {"decoder_layers": 5000},
        {"hidden_size": 10**12},
        {"vocab_size": 1e300},
        {"n_embd": float("inf")},
        {"text_config": {"num_hidden_layers": 10**6}},
        {"num_local_experts": 10**9},
    ],
)
def test_model_of_impossible_size_is_refused(make_model: Make, config: dict[str, object]) -> None:
    make_model(paths.models_dir() / "huge", **config)
    with pytest.raises(Unprocessable, match=r"config\.json .* at most"):
        Models().resolve("huge")
    assert Models().list(damaged=True)[-1].problem


def test_model_of_a_usual_size_is_accepted(make_model: Make) -> None:
    config = {
        "num_hidden_layers": 126,
        "hidden_size": 16384,
        "vocab_size": 262_144,
        "intermediate_size": 53248,
    }
    make_model(paths.models_dir() / "large", **config)
    assert Models().get("large").problem == ""


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": "(a+)+$"},
        {"target_modules": "((a|aa)*b)*c"},
        {"target_modules": "(?:[a-z.]*)*x"},
        {"target_modules": "(.*.*)+x"},
        {"target_modules": ".*" * 20 + "x"},
        {"target_modules": "a" * 5000},
        {"target_modules": "(unclosed"},
        {"exclude_modules": "(a+)+$"},
        {"layers_pattern": "(a+)+$"},
        {"rank_pattern": {"(a+)+$": 8}},
        {"alpha_pattern": {"(a|a?)+$": 8}},
    ],
)
def test_adapter_with_slow_pattern_is_refused(make_adapter: Make, config: dict[str, object]) -> None:
    make_adapter(paths.models_dir() / "slow", **config)
    began = time.monotonic()
    with pytest.raises(Unprocessable, match=r"adapter_config\.json"):
        Models().resolve("slow")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "pattern",
    [
        "all-linear",
        "q_proj",
        r".*\.(q|k|v|o)_proj",
        r"model\.layers\.[0-9]+\.(self_attn|mlp)\..*",
        r"^(?!.*visual).*(?:q_proj|v_proj).*$",
    ],
)
def test_usual_pattern_of_an_adapter_is_accepted(pattern: str) -> None:
    assert limits.patterns({"target_modules": pattern, "rank_pattern": {"q_proj": 4}}) is None
