"""MT-Bench and MT-Bench-Branch, with a tiny model that really answers and a judge that really is asked."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput, NotFound, TeacherError, Unprocessable
from ilab_jupyter.progress import Stopped

FEW: dict[str, Any] = {"questions": 4, "max_tokens": 4, "device": "cpu"}


def test_every_turn_is_judged_and_the_result_is_kept(student: Path, judge_server: Any, recorder: Any) -> None:
    judge, reporter = judge_server(lambda prompt: "Good. Rating: [[7]]"), recorder()
    result = Model(student).mt_bench(judge=judge.url, reporter=reporter, **FEW)
    assert (result.score, result.turn_scores, result.error_rate) == (7, (7, 7), 0)
    assert (result.judge, len(result.questions), len(judge.requests)) == ("org/judge", 4, 8)
    assert result.stderr == 0 and set(result.groups) == {question.group for question in result.questions}
    assert Path(result.path).parent == paths.data_dir() / "evaluations"
    assert json.loads((Path(result.path) / "result.json").read_text())["score"] == 7
    assert (8, 8) in [step[:2] for step in reporter.steps]
    assert [event[1] for event in reporter.events if event[0] == "phase"] == [
        *("preparing", "loading", "answering", "judging")
    ]
    again = Model.compare(result.path, result)
    assert again.difference == 0 and len(again.of("same")) == 4 and not again.significant


def test_nonsense_is_kept_apart_and_counted(student: Path, judge_server: Any, recorder: Any) -> None:
    said = iter(["[[8]]", "I like it.", "[[99]]", "[[6]]", "", "[[8]]", 422, "[[6]]"])
    judge, reporter = judge_server(lambda prompt: next(said)), recorder()
    result = Model(student).evaluate_mt_bench(judge=judge.url, max_workers=1, reporter=reporter, **FEW)
    assert result.score == 7 and len(result.rejected) == 4 and result.error_rate == 0.5
    assert any("'I like it.'" in row.reason for row in result.rejected)
    assert any("4 answers have no score" in event[1] for event in reporter.events if event[0] == "warning")


def test_a_judge_that_never_gives_a_score_is_an_error(student: Path, judge_server: Any) -> None:
    judge = judge_server(lambda prompt: "Hm.")
    with pytest.raises(Unprocessable, match="Not one answer has a score"):
        Model(student).evaluate_mt_bench(judge=judge.url, **FEW)


def test_the_key_goes_to_the_judge_and_nowhere_else(
    student: Path, judge_server: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("ILAB_JUDGE_API_KEY", "words-of-a-secret")
    judge = judge_server(lambda prompt: "[[5]]")
    result = Model(student).evaluate_mt_bench(judge=judge.url, output_dir=tmp_path / "out", **FEW)
    assert set(judge.keys) == {"Bearer words-of-a-secret"}
    kept = "".join(file.read_text() for file in Path(result.path).rglob("*") if file.is_file())
    assert "words-of-a-secret" not in kept + "".join(capfd.readouterr())


def test_missing_judge_is_reported_before_model_answers(student: Path, recorder: Any) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url, reporter = f"http://127.0.0.1:{held.getsockname()[1]}/v1", recorder()
        with pytest.raises(TeacherError) as caught:
            Model(student).evaluate_mt_bench(judge={"url": url, "model": "m"}, reporter=reporter, **FEW)
    assert caught.value.cause == "judge_unreachable" and "judge" in caught.value.message
    assert [event for event in reporter.events if event[1] == "answering"] == []


def test_judge_at_metadata_address_gets_no_request(student: Path) -> None:
    with pytest.raises(TeacherError, match="The judge's address"):
        Model(student).evaluate_mt_bench(judge="http://169.254.169.254/v1", **FEW)


def test_a_judge_that_goes_away_ends_the_evaluation_soon(student: Path, judge_server: Any) -> None:
    judge = judge_server(lambda prompt: 401)
    with pytest.raises(TeacherError, match="refuses the key"):
        Model(student).evaluate_mt_bench(judge=judge.url, max_workers=1, **FEW)
    assert len(judge.requests) == 1


def test_stop_request_ends_evaluation(student: Path, judge_server: Any, recorder: Any) -> None:
    judge = judge_server(lambda prompt: "[[5]]")
    with pytest.raises(Stopped):
        Model(student).evaluate_mt_bench(
            judge=judge.url, max_workers=1, reporter=recorder("answering"), max_tokens=4, device="cpu"
        )
    assert not judge.requests


def test_a_local_model_and_an_openai_client_can_judge(
    student: Path, judge_server: Any, tmp_path: Path
) -> None:
    import openai

    judge = judge_server(lambda prompt: "[[5]]")
    client = openai.OpenAI(base_url=judge.url, api_key="of-the-client")
    assert Model(student).mt_bench(judge=client, **FEW).score == 5
    assert set(judge.keys) == {"Bearer of-the-client"}
    # A model of random weights is asked, and gives no score. Any other byte ends its answer, so that it is
    # short of the 2,048 tokens that a judge may use.
    judge_model = Path(shutil.copytree(student, tmp_path / "judge"))
    generation = json.loads((student / "generation_config.json").read_text())
    generation["eos_token_id"] = list(range(0, 257, 2))
    (judge_model / "generation_config.json").write_text(json.dumps(generation))
    with pytest.raises(Unprocessable, match="the judge gave no score"):
        Model(student).mt_bench(judge=str(judge_model), **{**FEW, "questions": 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "needs a judge"),
        ({"judge": "ftp://host/v1"}, "judge.url"),
        ({"judge": {"url": "http://h/v1", "key": "x"}}, "key"),
        ({"judge": "http://h/v1", "questions": 0}, "questions"),
        ({"judge": 5}, "openai client"),
    ],
)
def test_a_wrong_argument_is_named(student: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Model(student).evaluate_mt_bench(**arguments)


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(folder)]
    return subprocess.run(["git", *own, *arguments], capture_output=True, text=True, check=True).stdout


LEAF = "compositional_skills/greetings/qna.yaml"


def leaf(answers: list[str]) -> str:
    seeds = "".join(f"  - question: What is {n}?\n    answer: {answer}\n" for n, answer in enumerate(answers))
    return f"version: 2\ntask_description: Numbers in words.\ncreated_by: me\nseed_examples:\n{seeds}"


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    """A repository whose branch `more` has one question more than `main`, with `main` checked out."""
    folder = tmp_path / "taxonomy"
    file = folder / LEAF
    file.parent.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    five = ["nothing", "one", "two", "three", "four"]
    for branch, answers in {"main": five, "more": [*five, "five"]}.items():
        if branch != "main":
            git(folder, "checkout", "-q", "-b", branch)
        file.write_text(leaf(answers))
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", branch)
    git(folder, "checkout", "-q", "main")
    return folder


def test_branch_is_compared_with_base_without_checkout(
    student: Path, other_student: Path, taxonomy: Path, judge_server: Any
) -> None:
    judge = judge_server(lambda prompt: "[[9]]" if len(judge.requests) <= 6 else "[[4]]")
    (taxonomy / LEAF).write_text("half an edit")
    before = git(taxonomy, "status", "--porcelain=v2", "--branch") + git(taxonomy, "reflog")
    both = Model(student).evaluate_mt_bench_branch(
        judge=judge.url,
        taxonomy_path=taxonomy,
        branch="more",
        base_model=other_student,
        base_branch="main",
        max_tokens=4,
        device="cpu",
    )
    assert (both.model.score, len(both.model.questions)) == (9, 6)
    assert both.base is not None and (both.base.score, len(both.base.questions)) == (4, 5)
    assert both.comparison is not None and (both.comparison.difference, len(both.comparison.added)) == (5, 1)
    assert both.comparison.significant and set(both.model.groups) == {LEAF}
    assert "ninety" not in str(both) and "<table>" in both._repr_html_()
    after = git(taxonomy, "status", "--porcelain=v2", "--branch") + git(taxonomy, "reflog")
    assert after == before and (taxonomy / LEAF).read_text() == "half an edit"


@pytest.mark.parametrize("branch", ["no-such-branch", "-h", "--orphan=x", "@{-1}", "HEAD^{/x}", "a..b", ""])
def test_unknown_branch_is_reported_before_first_request(
    student: Path, taxonomy: Path, judge_server: Any, branch: str
) -> None:
    judge = judge_server(lambda prompt: "[[5]]")
    with pytest.raises(InvalidInput):
        Model(student).evaluate_mt_bench_branch(
            judge=judge.url, taxonomy_path=taxonomy, base_model=student, base_branch=branch or "\0"
        )
    assert not judge.requests


def test_branch_without_skills_or_with_invalid_leaf_is_reported(
    student: Path, taxonomy: Path, judge_server: Any
) -> None:
    judge = judge_server(lambda prompt: "[[5]]")

    def evaluate() -> None:
        Model(student).evaluate_mt_bench_branch(judge=judge.url, taxonomy_path=taxonomy)

    (taxonomy / LEAF).write_text(leaf(["one"]))
    git(taxonomy, "commit", "-q", "-a", "-m", "wrong")
    with pytest.raises(Unprocessable, match=r"greetings/qna.yaml, line \d"):
        evaluate()
    git(taxonomy, "rm", "-q", LEAF)
    git(taxonomy, "commit", "-q", "-m", "none")
    with pytest.raises(Unprocessable, match="no skill"):
        evaluate()
    with pytest.raises(InvalidInput, match="no git repository"):
        Model(student).evaluate_mt_bench_branch(judge=judge.url, taxonomy_path=student)


def test_comparison_refuses_other_benchmarks_and_other_files(
    student: Path, judge_server: Any, tmp_path: Path
) -> None:
    judge = judge_server(lambda prompt: "[[5]]")
    result = Model(student).mt_bench(judge=judge.url, **{**FEW, "questions": 1})
    other = result.model_copy(update={"benchmark": "mmlu"})
    with pytest.raises(InvalidInput, match="cannot be compared"):
        Model.compare(result, other)
    with pytest.raises(NotFound):
        Model.compare(result, tmp_path / "nothing")
    (tmp_path / "result.json").write_text('{"benchmark": "mt_bench"}')
    with pytest.raises(Unprocessable, match="is no result"):
        Model.compare(result, tmp_path)
