"""The example of the SDK's design document runs as it is written, with its placeholders filled in."""

from __future__ import annotations

import contextlib
import shutil
import textwrap
from pathlib import Path
from typing import Any

import openai
import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Taxonomy
from ilab_jupyter.core.data import GenerateResult
from tests.evaluation.conftest import judge_server
from tests.support.teacher import TeacherServer

pytestmark = pytest.mark.slow

__all__ = ["judge_server"]

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"
EXAMPLE = """
config_object = Config.init(profile=profile)
diff = Taxonomy.diff()

if diff:
    data_client = Data(data_path=documents, teacher_model="", num_cpus="", taxonomy_path="",)

    # not in v1alpha1
    data_path = data_client.ingest()
    # not in v1alpha1

    openai_compat_client = some_server()

    data_jsonls = data_client.generate_data(client=openai_compat_client, data=data_path)

    some_custom_handling(data_jsonls)

    # you can either use a config obj or pass trainer args
    model_client = Model(student_model=path_to_student_model, configuration=config_object)

    model_path = model_client.train_model()

    # since we initialized the model client with the config, the training args are passed implicitly
    eval_output = model_client.mt_bench(model_path=model_path)
"""


def test_the_documents_example_runs_as_written(tmp_path: Path, judge_server: Any) -> None:
    judge = judge_server(lambda prompt: "[[6]]")
    profile = tmp_path / "small.yaml"
    profile.write_text(
        textwrap.dedent(f"""\
        version: 1.0.0
        generate:
          sdg_scale_factor: 2
        train:
          device: cpu
          num_epochs: 1
          lora_rank: 4
          max_seq_len: 256
        evaluate:
          mt_bench:
            judge_model: {judge.url}
        """)
    )
    Taxonomy.init(minimal=True)
    for leaf in ("knowledge", "compositional_skills/writing"):
        shutil.copytree(SAMPLE / leaf, paths.taxonomy_dir() / leaf, dirs_exist_ok=True)
    leaf_file = next((paths.taxonomy_dir() / "knowledge").rglob("qna.yaml"))
    text = leaf_file.read_text()
    assert "railway.md" in text
    leaf_file.write_text(text.replace("- railway.md", '- "*.md"'))
    handled: list[GenerateResult] = []
    with contextlib.closing(TeacherServer()) as teacher:
        names: dict[str, Any] = {
            "profile": profile,
            "documents": SAMPLE / "documents/brindle_fell",
            "some_server": lambda: openai.OpenAI(base_url=teacher.url, api_key="none"),
            "some_custom_handling": handled.append,
            "path_to_student_model": "starter",
        }
        exec("from instructlab.core import Config, Taxonomy, Data, Model", names)
        exec(EXAMPLE, names)
    assert len(names["diff"]) == 2 and set(handled[0].files) >= {"skills", "knowledge"}
    assert Path(names["model_path"]).is_dir() and names["model_path"].model in names["eval_output"].model
    assert names["eval_output"].score == pytest.approx(6) and names["eval_output"].judge == "org/judge"
