"""SDK: create, read, show and change InstructLab's configuration. Light: no engine library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.configuration import commented, file, initial, keys
from ilab_jupyter.configuration import written as written_by_init
from ilab_jupyter.configuration.arguments import Unused, is_set, unused
from ilab_jupyter.configuration.document import Document, InvalidYaml
from ilab_jupyter.configuration.initial import Initial
from ilab_jupyter.configuration.profiles import Profile, profiles
from ilab_jupyter.configuration.resolution import Configuration
from ilab_jupyter.configuration.sections import Section, Settings, fields
from ilab_jupyter.configuration.written import Written
from ilab_jupyter.core.calling import hybridmethod
from ilab_jupyter.display import html
from ilab_jupyter.errors import Conflict, InvalidInput, Unprocessable

__all__ = ["Config", "Profile", "Unused"]

PathArgument = str | os.PathLike[str]

_TAXONOMY = ("generate.taxonomy_path", "rag.convert.taxonomy_path", "evaluate.mt_bench_branch.taxonomy_path")
_BASE = ("generate.taxonomy_base", "rag.convert.taxonomy_base")
_SERVED = ("chat.model", "serve.model_path", "evaluate.model")


class Config:
    """InstructLab's config.yaml, version 1.0.0, in a file or in memory only.

    `Config.init()` creates the file for this machine, `Config.load()` reads it, and `Config(values)` takes a
    mapping of sections, in memory. Values have dotted keys, such as `train.num_epochs`. Keys that the file
    does not set have InstructLab's defaults; unknown keys are kept.

    `path` is the file, None in memory; `settings` has the typed values. `profile` and `reasons` are the
    choice of `init` and its reasons.
    """

    path: Path | None
    settings: Settings
    profile: str | None = None
    reasons: tuple[str, ...] = ()
    _written: Written | None = None

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        if not isinstance(values, Mapping | None):
            what = f"values is of type {type(values).__name__}, not a mapping of sections."
            raise InvalidInput(what, "Read a file with `Config.load(path)`.")
        try:
            self._take(Document.parse(commented.plain_text(keys.plain(values or {}))), None)
        except (InvalidYaml, file.BadFile) as error:
            problem = error.problem if isinstance(error, file.BadFile) else error.message
            raise InvalidInput(f"{problem}.", "`print(Config.init(write=False))` shows all keys.") from None

    @classmethod
    def init(
        cls,
        path: PathArgument | None = None,
        *,
        profile: PathArgument | None = None,
        overwrite: bool = False,
        model_path: PathArgument | None = None,
        taxonomy_path: PathArgument | None = None,
        taxonomy_base: str | None = None,
        write: bool = True,
    ) -> Config:
        """Create InstructLab's folders and a config.yaml that fits this machine; `reasons` explains it.

        `profile` is a name of `Config.profiles()`, or a YAML file to copy; where None, the file that
        `ILAB_GLOBAL_CONFIG` names is taken, else the hardware decides. `model_path` is the model to chat
        with, to serve and to evaluate. With `overwrite` an older file is kept as `config.yaml.bak` beside the
        new one. Without `write` nothing is created on disk.

        A valid file that exists is returned unchanged. Conflict where an argument contradicts it,
        Unprocessable where it is not valid, NotFound for an unknown profile, Unavailable where a folder
        cannot be written.
        """
        target = paths.given(path) if path is not None else paths.config_file()
        values = {
            **dict.fromkeys(_SERVED, model_path),
            **dict.fromkeys(_TAXONOMY, taxonomy_path),
            **dict.fromkeys(_BASE, taxonomy_base),
        }
        given = {key: value for key, value in values.items() if value is not None}
        if write and not overwrite and paths.exists(target):
            return cls._existing(target, profile, given)
        fresh = initial.create(profile)
        config = cls._holding(fresh.document)
        config.profile, config.reasons, config._written = fresh.profile, fresh.reasons, fresh.written
        config = config.override(**given)
        if not write:
            return config
        file.make_folders([*initial.folders(), target.parent])
        with file.locked(target):
            if paths.exists(target):
                if not overwrite:  # another process was faster
                    return cls._existing(target, profile, given)
                file.back_up(target)
            # The record comes first: without it, every value would count as set by the user.
            written_by_init.write(target, fresh.written)
            file.write(target, config._document.encoded())
        config.path = target
        return config

    @classmethod
    def _existing(cls, target: Path, profile: PathArgument | None, given: Mapping[str, Any]) -> Config:
        """The valid file at `target`; Conflict where what `init` was given contradicts it."""
        config = cls.load(target)
        wanted = config.override(**given)
        different = next((key for key in given if wanted[key] != config[key]), None)
        if different is not None:
            raise _contradicted(target, f"its {different} is {config[different]!r}")
        if profile is not None:
            fresh = initial.create(profile)
            if not _made_from(config, fresh):
                raise _contradicted(target, f"it was not made from the profile {fresh.profile}")
            config.profile = fresh.profile
        elif config._written is not None:
            config.profile = config._written.profile
        config.reasons = (f"{target} exists, so it was not changed.",)
        return config

    @classmethod
    def load(cls, path: PathArgument | None = None) -> Config:
        """Read the configuration of a file, InstructLab's own where None.

        NotFound where there is none; Unprocessable names the line and column of what is wrong in it.
        """
        location = paths.given(path) if path is not None else paths.config_file()
        return cls._holding(file.read(location), location)

    @classmethod
    def of(cls, configuration: Config | Mapping[str, Any] | PathArgument | None) -> Config:
        """The Config for a `configuration` argument: a Config, a mapping of sections, a path or None."""
        if isinstance(configuration, Config):
            return configuration
        if configuration is None or isinstance(configuration, Mapping):
            return cls(configuration)
        if isinstance(configuration, str | os.PathLike):
            return cls.load(configuration)
        raise InvalidInput(
            f"configuration is of type {type(configuration).__name__}.",
            "Give a Config, a mapping, or a path.",
        )

    @staticmethod
    def profiles() -> tuple[Profile, ...]:
        """Every profile with its name, the machine that it is for, and the values that it sets."""
        return profiles()

    @hybridmethod
    def show(
        whose: Config | type[Config], key: str | None = None, *, path: PathArgument | None = None
    ) -> str:
        """The YAML text, comments included: all of it, that of the section `key`, or the value of `key`.

        On the class: of the file at `path`, InstructLab's own where None. InvalidInput for an unknown key.
        """
        config = _either(whose, path)
        if key is None:
            return config._document.text
        found = keys.find(config.settings, key)
        if isinstance(found, Section):
            return config._document.section(key.split(".")) or commented.commented(found)
        return commented.value_text(keys.dumped(found))

    @hybridmethod
    def get(whose: Config | type[Config], key: str | None = None, *, path: PathArgument | None = None) -> Any:
        """The value of `key`; of a section, or of all without a key, a dict. In paths `~` is replaced.

        On the class: of the file at `path`, InstructLab's own where None. InvalidInput for an unknown key.
        """
        settings = _either(whose, path).settings
        return keys.dumped(settings if key is None else keys.find(settings, key))

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def set(self, key: str, value: Any) -> None:
        """Set `key`, in the file too: only this line changes.

        Changes that another process made to the file are kept. InvalidInput for an unknown key, a
        section, or a value that does not fit; Conflict where the value is tied to others by an alias.
        """
        if self.path is None:
            self._take(keys.changed(self._document, key, value), None)
            return
        with file.locked(self.path):
            document = keys.changed(file.parsed(self.path), key, value)
            file.write(self.path, document.encoded())
        self._take(document, self.path)

    @classmethod
    def change(cls, key: str, value: Any, *, path: PathArgument | None = None) -> Config:
        """Set `key` in a file, InstructLab's own where None, whose other values may be wrong.

        Return the configuration. Unprocessable where another value is still wrong; the new one is written.
        """
        location = paths.given(path) if path is not None else paths.config_file()
        file.parsed(location)  # before a lock file is made beside one that does not exist
        with file.locked(location):
            document = keys.changed(file.parsed(location), key, value)
            file.write(location, document.encoded())
        try:
            return cls._holding(document, location)
        except file.BadFile as error:
            raise Unprocessable(
                f"{key} is set, but line {error.line} of {location} is still wrong: {error.problem}.",
                "Correct that value the same way, or by hand.",
                cause="bad_config",
            ) from None

    def override(self, **values: Any) -> Config:
        """Copy the configuration, in memory, with other values: `override(**{"train.num_epochs": 3})`."""
        document = self._document
        for key, value in values.items():
            document = keys.changed(document, key, value)
        other = self._holding(document)
        other.profile, other.reasons, other._written = self.profile, self.reasons, self._written
        return other

    @property
    def resolvable(self) -> Configuration:
        """The values, and which of them the user set, for the resolution of arguments."""
        return Configuration(self.settings, self._written)

    def unused(self) -> tuple[Unused, ...]:
        """The keys that are set and have no effect, each with the reason."""
        return unused(self.settings)

    def __str__(self) -> str:
        return self._document.text

    def __repr__(self) -> str:
        of = f", profile {self.profile}" if self.profile else ""
        return f"Config({self.path or 'in memory'}{of})"

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{html(reason)}</li>" for reason in self.reasons)
        return (
            f"<p><b>{html(repr(self))}</b></p><ul>{reasons}</ul>"
            f"<details><summary>config.yaml</summary><pre>{html(str(self))}</pre></details>"
        )

    @classmethod
    def _holding(cls, document: Document, path: Path | None = None) -> Config:
        config = cls()
        config._take(document, path)
        config._written = None if path is None else written_by_init.read(path)
        return config

    def _take(self, document: Document, path: Path | None) -> None:
        self.settings = file.check(document, str(path or "this configuration"))
        self._document = document
        self.path = path


def _either(whose: Config | type[Config], path: PathArgument | None) -> Config:
    if not isinstance(whose, Config):
        return whose.load(path)
    if path is not None:
        raise InvalidInput(
            "This configuration has its own file.", "Ask the class: Config.show(key, path=...)."
        )
    return whose


def _made_from(config: Config, fresh: Initial) -> bool:
    """Whether a configuration has the values of a profile, except for those that the user changed since."""
    if fresh.written is not None:
        return config._written is not None and config._written.settings == fresh.written.settings
    settings, present = file.check(fresh.document, fresh.profile), dict(fields(config.settings))
    return all(
        key in present and present[key] == value for key, value in fields(settings) if is_set(settings, key)
    )


def _contradicted(path: Path, problem: str) -> Conflict:
    return Conflict(
        f"There is a configuration at {path} already, and {problem}.",
        "Use it with Config.load(), or replace it with Config.init(overwrite=True), which keeps the old one.",
    )
