"""The SDK's Config: create, show and change the file."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilab_jupyter import paths
from ilab_jupyter.core import Config, Data, Taxonomy
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unavailable, Unprocessable

UPSTREAM = Path(__file__).parent.parent / "configuration/config.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration of some group, with remarks of theirs."""
    path = tmp_path / "config.yaml"
    path.write_bytes(UPSTREAM.read_bytes())
    return path


def test_init_creates_file_and_folders_with_reasons(own_folders: Path) -> None:
    config = Config.init()
    assert config.path == paths.config_file() == own_folders / ".config/instructlab/config.yaml"
    assert config.profile and config.reasons
    assert {str(path) for path in (paths.models_dir(), paths.datasets_dir(), paths.taxonomy_dir())} <= {
        str(path) for path in own_folders.rglob("*") if path.is_dir()
    }
    text = config.path.read_text(encoding="utf-8")
    assert str(config) == Config.show() == text and config.reasons[0] in " ".join(
        text.replace("# ", "").split()
    )
    # PyYAML and InstructLab's own reader, which knows a later YAML, have to agree on it
    assert yaml.safe_load(text) == Config.load().get() == Config.get()


def test_every_field_of_a_fresh_file_is_explained() -> None:
    lines = Config.init(write=False).show().splitlines()
    keys = [
        position for position, line in enumerate(lines) if line.strip() and not line.strip().startswith("#")
    ]
    assert len(keys) > 120
    assert all(lines[position - 1].strip().startswith("# ") for position in keys)


def test_existing_file_is_backed_up_when_overwritten(own_folders: Path) -> None:
    first = Config.init(taxonomy_path="/srv/taxonomy")
    with pytest.raises(Conflict, match="already") as caught:
        Config.init(taxonomy_path="/srv/other")
    assert "overwrite=True" in caught.value.hint
    assert Config.get("generate.taxonomy_path") == "/srv/taxonomy"
    second = Config.init(overwrite=True, model_path="/m", taxonomy_base="main")
    assert (second["serve.model_path"], second["generate.taxonomy_base"]) == ("/m", "main")
    assert Config.load(paths.config_file().with_name("config.yaml.bak")).show() == str(first)


def test_init_returns_existing_file_unless_argument_contradicts_it(file: Path) -> None:
    first = Config.init(profile="cpu_8gb", taxonomy_path="/srv/taxonomy")
    first.set("train.num_epochs", 1)
    second = Config.init(profile="cpu_8gb", taxonomy_path="/srv/taxonomy")
    assert str(second) == str(first) and second.profile == "cpu_8gb" and second.path == first.path
    assert Config.init()["train.num_epochs"] == 1
    for contradiction in ({"profile": "cpu_16gb"}, {"model_path": "/m"}, {"profile": file}):
        with pytest.raises(Conflict, match="already"):
            Config.init(**contradiction)  # type: ignore[arg-type]
    paths.config_file().write_text("train:\n  num_epochs: none\n")
    with pytest.raises(Unprocessable, match="line 2"):
        Config.init()


def test_first_lines_of_documents_example_run_twice(tmp_path: Path) -> None:
    profile = tmp_path / "small.yaml"
    profile.write_text("train:\n  num_epochs: 1\n  device: cpu\n")
    Taxonomy.init()
    for _ in range(2):
        config = Config.init(profile=profile)
        assert config["train.num_epochs"] == 1 and not Taxonomy.diff()
        data = Data(data_path="", teacher_model="", num_cpus="", taxonomy_path="")
        assert data.settings.taxonomy_path == str(paths.taxonomy_dir())
        assert config.resolvable.changed("train.num_epochs")


def test_init_without_write_creates_nothing(own_folders: Path) -> None:
    config = Config.init(write=False)
    assert config.path is None and config.reasons and list(own_folders.iterdir()) == []
    config.set("train.num_epochs", 3)
    assert config["train.num_epochs"] == 3 and list(own_folders.iterdir()) == []


def test_a_profile_is_taken_by_name_or_from_a_file(file: Path) -> None:
    assert Config.init(profile="nvidia/h100/h100_x8", write=False)["train.nproc_per_node"] == 8
    ours = Config.init(profile=file)
    assert ours["physics.room"] == "B 113" and ours.path == paths.config_file()
    with pytest.raises(NotFound, match="no profile 'nvidia/z9'") as caught:
        Config.init(profile="nvidia/z9", write=False)
    assert "gpu_24gb" in caught.value.hint


def test_new_file_starts_from_administrators_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILAB_GLOBAL_CONFIG", str(file))
    config = Config.init()
    assert config.path == paths.config_file() and str(config) == file.read_text(encoding="utf-8")
    assert "ILAB_GLOBAL_CONFIG" in config.reasons[0]


def test_missing_file_has_a_hint() -> None:
    for ask in (Config.load, Config.show, Config.get):
        with pytest.raises(NotFound) as caught:
            ask()
        assert "Config.init()" in caught.value.hint and caught.value.cause == "config_missing"


def test_the_class_and_an_object_answer_to_the_same_names(file: Path) -> None:
    config = Config.load(file)
    assert Config.show("chat.context", path=file) == config.show("chat.context") == "default"
    assert Config.get("train.num_epochs", path=file) == config.get("train.num_epochs") == 8
    assert config["train.num_epochs"] == 8
    assert Config.show(path=file) == config.show() == str(config) == file.read_text(encoding="utf-8")
    with pytest.raises(InvalidInput, match="its own file"):
        config.show("chat.context", path=file)


def test_section_is_shown_with_its_comments(file: Path) -> None:
    config = Config.load(file)
    assert "few_shots: 5\n" in config.show("evaluate.mmlu")
    assert config.show("serve.vllm").endswith("vllm_args:\n- --tensor-parallel-size\n- '4'   # all of them\n")
    assert config.show("train.additional_args").startswith("learning_rate: 2e-5     # the paper's\n")
    assert config.show("generate").splitlines()[0] == "batch_size: 8"
    assert config.show("train").endswith("training_journal: null\n# half a day on this machine\n")
    assert config.show("chat").endswith("visible_overflow: true\n")
    assert config.get("rag.retriever") == {"top_k": 5}
    ours = {"id": "ours", "family": "granite", "path": "/srv/models/ours", "system_prompt": None}
    assert config.get("models") == [ours]
    assert (
        config.show("models") == "[{id: ours, family: granite, path: /srv/models/ours, system_prompt: null}]"
    )
    config.set("models", [ours, {**ours, "id": "theirs"}])
    assert [model["id"] for model in Config.get("models", path=file)] == ["ours", "theirs"]
    config.set("models", [])
    assert "\nmodels: []\n\nrag:\n" in file.read_text(encoding="utf-8")


def test_home_and_variables_are_expanded_in_paths(
    file: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.load(file)
    assert config["chat.logs_dir"] == str(own_folders / ".local/share/instructlab/chatlogs")
    monkeypatch.setenv("SCRATCH", "/scratch/ada")
    config.set("train.ckpt_output_dir", "$SCRATCH/checkpoints")
    assert config["train.ckpt_output_dir"] == "/scratch/ada/checkpoints"
    assert "ckpt_output_dir: $SCRATCH/checkpoints\n" in file.read_text(encoding="utf-8")
    config.set("train.data_path", Path("/data"))
    assert config["train.data_path"] == "/data"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("num_epochs", "train.num_epochs"),
        ("train.num_epoch", "train.num_epochs"),
        ("chat.contxt", "chat.context"),
        ("trian", "train"),
        ("serve.vllm.gpu", "serve.vllm.gpus"),
    ],
)
def test_an_unknown_key_names_the_closest(file: Path, key: str, meant: str) -> None:
    config = Config.load(file)
    for ask in (config.get, config.show, lambda key: config.set(key, 1)):
        with pytest.raises(InvalidInput, match="There is no key") as caught:
            ask(key)
        assert meant in caught.value.hint
    assert file.read_bytes() == UPSTREAM.read_bytes()


def test_set_changes_its_line_and_keeps_mode_and_link(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    before = file.read_text(encoding="utf-8")
    config = Config.load(link)
    config.set("train.num_epochs", "3")
    assert file.read_text(encoding="utf-8") == before.replace("num_epochs: 8 ", "num_epochs: 3 ", 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640 and link.is_symlink()
    assert config["train.num_epochs"] == Config.get("train.num_epochs", path=link) == 3


def test_set_keeps_concurrent_changes(file: Path) -> None:
    mine, theirs = Config.load(file), Config.load(file)
    theirs.set("train.num_epochs", 5)
    mine.set("train.device", "cpu")
    assert (mine["train.num_epochs"], mine["train.device"]) == (5, "cpu")


def test_concurrent_set_loses_no_change(file: Path) -> None:
    script = (
        "import sys; from ilab_jupyter.core import Config; config = Config.load(sys.argv[1]);"
        "[config.set(sys.argv[2], value) for value in range(1, int(sys.argv[3]) + 1)]"
    )
    wanted = {"train.num_epochs": 6, "rag.retriever.top_k": 7}
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(file), key, str(last)])
        for key, last in wanted.items()
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert {key: Config.get(key, path=file) for key in wanted} == wanted


def test_override_changes_neither_file_nor_original(file: Path) -> None:
    config = Config.load(file)
    other = config.override(**{"train.num_epochs": 3, "rag.enabled": True})
    assert (other["train.num_epochs"], other["rag.enabled"], other.path) == (3, True, None)
    assert config["train.num_epochs"] == 8 and file.read_bytes() == UPSTREAM.read_bytes()


def test_a_configuration_may_be_a_mapping() -> None:
    values: dict[str, Any] = {
        "train": {"num_epochs": 3, "data_path": Path("/d")},
        "a b": {"c": [1, {"d": None}]},
    }
    config = Config(values)
    assert (config["train.num_epochs"], config["train.data_path"], config["chat.context"]) == (
        3,
        "/d",
        "default",
    )
    assert config.get("a b") == {"c": [1, {"d": None}]} and config.path is None
    for wrong, said in (
        ({"train": {"num_epochs": 0}}, "greater than 0"),
        ({"train": object()}, "cannot be written"),
    ):
        with pytest.raises(InvalidInput, match=said):
            Config(wrong)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "taken"))
    with pytest.raises(Unavailable, match=str(tmp_path / "taken")):
        Config.init()
    assert not paths.config_file().exists()


def test_values_are_escaped_in_html(file: Path) -> None:
    config = Config.load(file)
    config.set("chat.context", "<script>alert(1)</script>")
    assert "<script>" not in config._repr_html_() and "&lt;script&gt;" in config._repr_html_()


def test_instructlab_core_is_light_and_the_same_class() -> None:
    script = (
        "import sys; from instructlab.core import Config as a; from ilab_jupyter.core import Config as b;"
        "assert a is b; b.init(); b.get('train.num_epochs');"
        "print([name for name in ('torch', 'transformers', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
