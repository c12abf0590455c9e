"""Our files are instructlab-sdg's own: the same taxonomy and teacher give the same rows, file by file.

What instructlab-sdg's `generate_data` needs to run on today's libraries is `compatibility.patch`, which both
sides have. What is ours alone is named here, and nothing else may differ:

- `rejected.jsonl` and `ilab-lineage.json` are files that instructlab-sdg does not write;
- `metadata` also says `teacher`;
- `id` is made of a row's content, where instructlab-sdg draws a random one.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilab_jupyter.core import Data
from ilab_jupyter.synthesis import compatibility, leaves

pytestmark = pytest.mark.slow

SYSTEM = "You are a helpful assistant."
SCALE = 2
SEED = 42
BATCH = 4
LEAVES = [
    "compositional_skills/grounded/notices/times/qna.yaml",
    "compositional_skills/writing/packing_reminders/qna.yaml",
    "knowledge/transport/railways/brindle_fell/qna.yaml",
]


def garbled(prompt: str, answer: str) -> str:
    """Every ninth answer in tags lacks them, as a model's sometimes do: it gives no row, on both sides."""
    unlucky = hashlib.sha256(prompt.encode()).digest()[0] % 9 == 0
    return answer.replace("[", "(") if answer.startswith("[") and unlucky else answer


@pytest.fixture
def deterministic(teacher_server: Callable[..., Any]) -> str:
    """The address of a teacher whose answer depends on the prompt and on nothing else."""
    server = teacher_server("lists")
    respond = server.teacher.respond
    server.teacher.respond = lambda prompt, index=0: garbled(prompt, respond(prompt, index))
    return str(server.url)


def upstreams(taxonomy: Path, url: str, pipeline: str, folder: Path) -> Path:
    """The folder that instructlab-sdg's `generate_data` fills, with mixing seeded as ours is."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="none")
    # its probe of what the server can do asks prompts of its own
    client.server_supports_batched = True  # type: ignore[attr-defined]
    copies = leaves.copy(taxonomy, LEAVES, folder / "leaves", {})
    with pytest.MonkeyPatch.context() as patch, compatibility.environment(folder, copies.environment):
        sdg = compatibility.patch()
        mixing = sdg.postprocess_taxonomy

        def seeded(*arguments: Any, **named: Any) -> Any:
            random.seed(SEED)
            return mixing(*arguments, **named)

        patch.setattr(sdg, "postprocess_taxonomy", seeded)
        sdg.generate_data(
            client,
            model_name="tutor",
            taxonomy=str(copies.root),
            taxonomy_base="empty",
            output_dir=str(folder / "out"),
            pipeline=pipeline,
            num_instructions_to_generate=SCALE,
            num_cpus=2,
            batch_size=BATCH,
            console_output=False,
            system_prompt=SYSTEM,
            use_legacy_pretraining_format=False,
        )
    return folder / "out"


def files(folder: Path, suffix: str) -> dict[str, Path]:
    """By name without the run's date, which is in most of them."""
    return {
        path.relative_to(folder).as_posix().replace(suffix, "DATE"): path
        for path in folder.rglob("*")
        if path.is_file() and "/documents/" not in path.as_posix()
    }


def rows(path: Path) -> list[str]:
    """The rows of a file in a canonical form and order, less what is ours alone."""
    found = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        row.pop("id", None)
        if isinstance(row.get("metadata"), str):
            row["metadata"] = {k: v for k, v in json.loads(row["metadata"]).items() if k != "teacher"}
        found.append(json.dumps(row, sort_keys=True))
    return sorted(found)


@pytest.mark.parametrize("pipeline", ["simple", "full"])
def test_each_file_has_the_rows_of_instructlab_sdgs_own(
    pipeline: str, deterministic: str, sample: Path, tmp_path: Path, recorder: Callable[..., Any]
) -> None:
    theirs = upstreams(sample, deterministic, pipeline, tmp_path / "theirs")
    result = Data(
        sample,
        teacher=deterministic,
        pipeline=pipeline,
        scale=SCALE,
        batch_size=BATCH,
        system_prompt=SYSTEM,
        seed=SEED,
        output_dir=tmp_path,
        name="ours",
    ).generate_data(run_dir=tmp_path / "run", reporter=recorder())
    assert len(result.rows_per_leaf) == 3 and all(result.rows_per_leaf.values())

    dates = [
        next(path.glob("messages_*.jsonl")).stem.removeprefix("messages_")
        for path in (theirs, tmp_path / "ours")
    ]
    expected, made = files(theirs, dates[0]), files(tmp_path / "ours", dates[1])
    assert set(made) - {"rejected.jsonl", "ilab-lineage.json"} == set(expected)
    compared = 0
    for name, path in expected.items():
        if name.endswith(".jsonl"):
            assert rows(made[name]) == rows(path), name
            compared += len(rows(path))
        elif name.endswith("_recipe_DATE.yaml"):
            asked, given = (yaml.safe_load(file.read_text()) for file in (path, made[name]))
            for recipe in (asked, given):
                for entry in recipe["datasets"]:
                    entry["path"] = Path(entry["path"]).name.replace(dates[0], "").replace(dates[1], "")
            assert given == asked, name
    assert compared > 300
    if pipeline == "full":
        assert result.rejected["wrong_tags"] > 0, "the teacher's garbled answers are kept apart"
