"""`%ilab config` and `%ilab taxonomy`: show, create and change them through the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from ilab_jupyter.client.table import Table
from ilab_jupyter.core.config import Config
from ilab_jupyter.core.taxonomy import Taxonomy
from ilab_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from ilab_jupyter.magics.arguments import Parser

CONFIG_ACTIONS = ("show", "set", "init", "profiles", "unused")
TAXONOMY_ACTIONS = ("tree", "diff", "validate", "init")


def add_config(parser: Parser) -> None:
    """The arguments of `%ilab config`."""
    parser.usage = "%(prog)s [show [KEY] | set KEY VALUE | init [--profile NAME] | profiles | unused]"
    parser.add_argument(
        "action", nargs="?", choices=list(CONFIG_ACTIONS), help="None: show the whole configuration."
    )
    parser.add_argument("words", nargs="*", metavar="KEY or VALUE", help="A dotted key: train.num_epochs.")
    parser.add_argument(
        "--profile", metavar="NAME", help="For init: one of `profiles`; None: the one for this hardware."
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="For init: replace the file; the old one becomes a backup.",
    )


def add_taxonomy(parser: Parser) -> None:
    """The arguments of `%ilab taxonomy`."""
    parser.usage = "%(prog)s [tree | diff | validate | init] [PATH] [OPTIONS]"
    parser.add_argument(
        "words",
        nargs="*",
        metavar="ACTION or PATH",
        help="None: show the tree. The default path is InstructLab's taxonomy folder.",
    )
    parser.add_argument(
        "--base", metavar="REVISION", help="Git revision to compare with; `empty` takes every leaf."
    )
    parser.add_argument("--documents", action="store_true", help="For validate: also read the documents.")
    parser.add_argument("--repository", metavar="URL", help="For init: repository to clone.")
    parser.add_argument("--branch", metavar="NAME", help="For init: branch of the repository.")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="For init: replace the folder; the old one becomes a backup.",
    )


def config(options: dict[str, Any]) -> object:
    """Run `%ilab config`: returns the Config or a Table, or prints a value."""
    action, words = options["action"] or "show", options["words"]
    most = {"show": 1, "set": 2}.get(action, 0)
    if len(words) > most or (action == "set" and len(words) < 2):
        raise InvalidInput(f"%ilab config {action} does not take these arguments.", "See `%ilab config?`.")
    if action == "init":
        return Config.init(profile=options["profile"], overwrite=options["overwrite"])
    if action == "profiles":
        return Table(
            ("profile", "for"), tuple((one.name, one.summary) for one in Config.profiles()), "No profiles."
        )
    if action == "unused":
        return Table(
            ("key", "why"),
            tuple((one.key, one.reason) for one in Config.load().unused()),
            "Every value of the configuration has an effect on jobs and the SDK.",
        )
    if action == "set":
        key, text = words
        changed = Config.change(key, _scalar(text))
        print(f"{key}: {changed.show(key)}".rstrip())
        return None
    if not words:
        return Config.load()
    print(Config.show(words[0]).rstrip())
    return None


def taxonomy(options: dict[str, Any]) -> object:
    """Run `%ilab taxonomy`: returns a Tree, a Diff or Findings."""
    words, base = list(options["words"]), options["base"]
    action = words.pop(0) if words and words[0] in TAXONOMY_ACTIONS else "tree"
    if len(words) > 1:
        raise InvalidInput("%ilab taxonomy takes one path.", "See `%ilab taxonomy?`.")
    path = words[0] if words else None
    if action == "init":
        folder = Taxonomy.init(
            path,
            repository=options["repository"],
            branch=options["branch"],
            overwrite=options["overwrite"],
        )
        return Taxonomy.tree(folder)
    if action == "diff":
        return Taxonomy.diff(path, base)
    if action == "validate":
        return Taxonomy.validate(path, base or "empty", options["documents"])
    return Taxonomy.tree(path, base)


def _scalar(text: str) -> Any:
    """`text` as a YAML value, or as text where YAML would change what is written."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    # YAML 1.1 reads `yes` as true and 010 as 8; InstructLab's file is YAML 1.2.
    as_written = value is None or isinstance(value, list | dict) or str(value).lower() == text.lower()
    return value if as_written else text
