"""A taxonomy at a glance: as text, as a page that folds, and as plain values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ilab_jupyter.core import Taxonomy

SKILL = "compositional_skills/writing/packing_reminders/qna.yaml"
KNOWLEDGE = "knowledge/transport/railways/brindle_fell/qna.yaml"


def test_the_tree_tells_kinds_seeds_findings_and_changes(committed: Path) -> None:
    leaf = committed / SKILL
    leaf.write_text(leaf.read_text().replace("task_description", "taskdescription") + "\n")
    (committed / KNOWLEDGE).unlink()
    shutil.copytree(committed / "compositional_skills/grounded", committed / "compositional_skills/copied")
    tree = Taxonomy.tree(committed, "main")
    assert (
        str(tree)
        == f"""\
{committed}
├── compositional_skills
│   ├── copied
│   │   └── notices
│   │       └── times  grounded, 6 seeds, untracked
│   ├── grounded
│   │   └── notices
│   │       └── times  grounded, 6 seeds
│   └── writing
│       └── packing_reminders  broken, 6 seeds, 1 error, 1 of style, modified
└── knowledge
    └── transport
        └── railways
            └── brindle_fell  deleted
3 leaves, 18 seeds, 1 error, 3 changed since main"""
    )
    assert [leaf.change for leaf in tree.leaves] == ["untracked", None, "modified", "deleted"]


def test_the_tree_is_plain_values_too(taxonomy: Path) -> None:
    plain = Taxonomy.tree(taxonomy).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    [skills, knowledge] = plain["domains"]
    assert (plain["base"], knowledge["name"]) == (None, "knowledge")
    assert skills["children"][1]["children"][0] == {
        "name": "packing_reminders",
        "children": [],
        "file": SKILL,
        "kind": "freeform",
        "seeds": 6,
        "errors": 0,
        "style": 0,
        "change": None,
    }


def test_a_leaf_may_have_leaves_below_it(taxonomy: Path) -> None:
    shutil.copy(taxonomy / SKILL, taxonomy / "compositional_skills/writing/qna.yaml")
    tree = Taxonomy.tree(taxonomy / "compositional_skills")
    assert [leaf.name for leaf in tree.leaves] == ["times", "writing", "packing_reminders"]


def test_one_leaf_is_a_tree_as_well(taxonomy: Path, tmp_path: Path) -> None:
    assert len(Taxonomy.tree(taxonomy / SKILL).leaves) == 1
    shutil.copy(taxonomy / SKILL, tmp_path / "qna.yaml")
    assert str(Taxonomy.tree(tmp_path / "qna.yaml")).splitlines()[1:] == [
        "└── qna.yaml  freeform, 6 seeds",
        "1 leaf, 6 seeds",
    ]


def test_names_are_shown_as_text_and_never_as_markup(taxonomy: Path) -> None:
    folder = taxonomy / "compositional_skills" / "<script>alert(1)<"
    shutil.copytree(taxonomy / "compositional_skills" / "writing", folder)
    page = Taxonomy.tree(taxonomy)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert page.count("<details") == page.count("</details>") > 4


def test_very_deep_leaf_is_shown_and_serialised(committed: Path) -> None:
    deep = "compositional_skills/" + "d/" * 300
    (committed / deep).mkdir(parents=True)
    shutil.copyfile(committed / SKILL, committed / deep / "qna.yaml")
    tree = Taxonomy.tree(committed)
    assert f"{deep}qna.yaml" in [leaf.file for leaf in tree.leaves]
    assert json.loads(tree.model_dump_json()) == tree.to_dict() and "d/d/d" in str(tree) + tree._repr_html_()
