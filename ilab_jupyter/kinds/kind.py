"""The declaration of a job kind: what the magics, the REST API, the remedies and the docs derive from."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from ilab_jupyter.jobs.record import Resources
from ilab_jupyter.kinds.context import Context, TaskSpec

# How a value on the command line becomes an argument:
#   text           as it is written
#   path           an absolute path, which need not exist
#   existing_path  an absolute path; an error where nothing is there
#   name_or_path   an existing path where the value has a slash, else a name
#   hub_model      an absolute path where it exists, else an id on the model hub
#   model          a model in the registry, a folder, the model that a job made, or a hub id
#   dataset        a dataset in the registry, a file or folder, or the dataset that a job made
Resolution = Literal["text", "path", "existing_path", "name_or_path", "hub_model", "model", "dataset"]
# Where the value of a positional argument comes from if it is not given.
Fallback = Literal["taxonomy", "newest_dataset"]
ANY_GPU = Resources()
NO_GPU = Resources(gpus=0)


def without_none(annotation: Any) -> Any:
    """`int` for `int | None`."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation


@dataclass(frozen=True)
class Service:
    """An argument that is a model of its own, such as a teacher: `--teacher URL`, `--teacher-model NAME`.

    `parse` reads the short form, a single text. `hidden` fields follow from the short form and have no
    option. `options` renames the options of single fields. With `local_model` the field `model` names a model
    of this machine where the field `url` is empty.
    """

    settings: type[BaseModel]
    parse: Callable[[Any], Any]
    hidden: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    local_model: bool = False


@dataclass(frozen=True)
class Argument:
    """How one argument is read from a command line. Type, bounds and description are in the kind's spec.

    `noun` names the value in messages, `help` is added to the description, `option` is the option's name
    where it differs from the field's.
    """

    name: str
    resolve: Resolution = "text"
    metavar: str = ""
    positional: bool = False
    noun: str = ""
    help: str = ""
    option: str = ""
    fallback: Fallback | None = None
    service: Service | None = None

    def field_option(self, name: str) -> str:
        """The option for one field of a service: `--teacher-model`."""
        renamed = {} if self.service is None else self.service.options
        return f"--{renamed.get(name, f'{self.name}-{name}').replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job.

    `summary` is a sentence for lists and help. `arguments` declares those that are positional or not plain
    text. `secrets` are environment variables of the submitter that the worker gets; a dotted name
    (`teacher.api_key_env`) is an argument that holds the variable's name. `resources` applies to what the
    request leaves open: a GPU where the machine has one. `examples` are command lines without `%ilab`.
    `makes` says what the job registers under its argument `name`. `ready_event` ends `--wait` before the job
    ends. `notice` gives a sentence about valid arguments, `changes` the arguments to change after a cause of
    failure, None where the same arguments are to be used again.
    """

    name: str
    spec: type[TaskSpec]
    run: Callable[[Any, Context], dict[str, Any]]
    title: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    secrets: tuple[str, ...] = ()
    queue: str = "batch"
    resources: Resources = ANY_GPU
    examples: tuple[str, ...] = ()
    makes: Literal["model", "dataset"] | None = None
    ready_event: str | None = None
    notice: Callable[[Mapping[str, Any]], str] | None = None
    changes: Callable[[str, Mapping[str, Any]], dict[str, Any] | None] | None = None

    @property
    def positional(self) -> tuple[Argument, ...]:
        """The arguments that are given without an option, in their order."""
        return tuple(argument for argument in self.arguments if argument.positional)

    def argument(self, name: str) -> Argument:
        """The declaration of a field of the spec; plain text where there is none."""
        return next((one for one in self.arguments if one.name == name), Argument(name))

    def is_required(self, argument: Argument) -> bool:
        """Whether the spec has no default for this argument and nothing else supplies one."""
        return argument.fallback is None and self.spec.model_fields[argument.name].is_required()

    def field_type(self, name: str) -> Any:
        """The annotation of a field of the spec, without None."""
        return without_none(self.spec.model_fields[name].annotation)

    def choices(self, name: str) -> tuple[str, ...]:
        """The values that a field takes; empty where its type does not list them."""
        annotation = self.field_type(name)
        return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()

    @property
    def usage(self) -> str:
        """`%ilab train [DATA...]`."""
        words = [f"%ilab {self.name}"]
        for argument in self.positional:
            many = typing.get_origin(self.field_type(argument.name)) is list
            word = f"{argument.metavar}{'...' if many else ''}"
            words.append(word if self.is_required(argument) else f"[{word}]")
        return " ".join(words)
