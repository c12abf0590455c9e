"""A new job before it is queued: its arguments are resolved, and what would make it fail is refused.

`admit` is given to `LocalJobs`, so magics, REST and SDK resolve and refuse the same jobs in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ilab_jupyter import paths
from ilab_jupyter.errors import Conflict, NotFound, PublicError
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.kinds import arguments, hub_check, remedies
from ilab_jupyter.kinds.catalog import KINDS, makers
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.registry.entries import Role
from ilab_jupyter.registry.names import HUB_ID, parts

Unended = Callable[[str], Sequence[JobSpec]]

_ANY_ROLE = get_args(Role)


def admit(spec: JobSpec, secrets: Mapping[str, str], unended: Unended) -> tuple[JobSpec, list[str]]:
    """The spec with its arguments resolved, and warnings on what could not be checked.

    Raises PublicError where the job cannot succeed. `unended` gives the specs of the owner's queued and live
    jobs that contain a text.
    """
    resolved, notices = arguments.resolve(spec)
    checked = _Checked(resolved, secrets, unended)
    if (check := _CHECKS.get(spec.kind)) is not None:
        check(checked)
    _check_name(spec, unended)
    return resolved, [*notices, *checked.warnings]


class _Checked:
    """The checks that several kinds share, for one job."""

    def __init__(self, spec: JobSpec, secrets: Mapping[str, str], unended: Unended) -> None:
        self.spec = spec
        self.arguments = spec.arguments
        self.warnings: list[str] = []
        self._token = secrets.get("HF_TOKEN")
        self._unended = unended

    def model(self, given: Any) -> None:
        """A model in the registry, a folder or the hub's cache; another hub id is looked up on the hub."""
        if not given:
            return
        name = str(given)
        try:
            Models().resolve(name)
        except NotFound as error:
            if self._is_planned(name, makers("model")):
                self.warnings.append(
                    f"The model {name!r} does not exist yet: a job that has not ended makes it."
                )
            elif HUB_ID.fullmatch(name):
                self.warnings += filter(None, [hub_check.check(name, self._token)])
            else:
                raise NotFound(error.message, error.hint, cause="model_missing") from None

    def data(self, given: Any, roles: Sequence[Role]) -> None:
        """A dataset's name, a folder or a file with rows to train on."""
        name = str(given)
        if not Path(name).is_absolute() and parts(name, 1) is None:
            return  # a relative path, which the worker reads from its own working folder
        try:
            Datasets().resolve(name, roles)
        except NotFound as error:
            if not self._is_planned(name, makers("dataset")):
                raise NotFound(error.message, error.hint, cause="data_missing") from None
            self.warnings.append(
                f"The dataset {name!r} does not exist yet: a job that has not ended makes it."
            )

    def path(self, given: Any, what: str) -> None:
        """A file or folder that exists."""
        if given and not paths.given(given).exists():
            raise NotFound(f"There is no {what} at {given}.", "Check the path.")

    def _is_planned(self, name: str, kinds: Sequence[str]) -> bool:
        # A deployment starts beside the job that makes its model, so it would not wait for it.
        return self.spec.kind != "serve" and any(
            other.kind in kinds and other.arguments.get("name") == name for other in self._unended(name)
        )


def _train(job: _Checked) -> None:
    model = job.arguments.get("model") or "starter"
    job.model(model)
    for given in job.arguments.get("data") or ():
        job.data(given, _roles(str(model)))


def _evaluate(job: _Checked) -> None:
    job.model(job.arguments.get("model"))
    job.model(job.arguments.get("base_model"))
    judge = job.arguments.get("judge")
    if isinstance(judge, Mapping) and not judge.get("url"):
        job.model(judge.get("model"))


def _generate(job: _Checked) -> None:
    job.path(job.arguments.get("taxonomy_path"), "taxonomy")
    for folder in (job.arguments.get("documents") or {}).values():
        job.path(folder, "repository")


def _curate(job: _Checked) -> None:
    for given in (*(job.arguments.get("data") or ()), *(job.arguments.get("evaluation") or ())):
        # A recipe, a folder or a file of any kind: the operation itself checks which.
        if not paths.given(given).exists():
            job.data(given, _ANY_ROLE)


def _ingest(job: _Checked) -> None:
    for given in job.arguments.get("documents") or ():
        job.path(given, "document")


_CHECKS: dict[str, Callable[[_Checked], None]] = {
    "generate": _generate,
    "ingest": _ingest,
    "rag": lambda job: job.path(job.arguments.get("input_dir"), "document"),
    "curate": _curate,
    "train": _train,
    "evaluate": _evaluate,
    "model": lambda job: job.model(job.arguments.get("model")),
    "serve": lambda job: job.model(job.arguments.get("model")),
}


def _roles(model: str) -> Sequence[Role]:
    """Which files of a generated dataset suit the model, as its profile says."""
    try:
        return model_profile.read(Models().resolve(model)).dataset_roles
    except (PublicError, OSError):
        return model_profile.Profile().dataset_roles


def _check_name(spec: JobSpec, unended: Unended) -> None:
    """Conflict where the name of the new model or dataset is taken, also by a job that has not ended."""
    name, kind = spec.arguments.get("name"), KINDS.get(spec.kind)
    product = kind.makes if kind is not None else None
    if not name or product is None:
        return
    output = spec.arguments.get("output_dir")
    planned = {
        str(other.arguments.get("name"))
        for other in unended(str(name))
        if other.kind in makers(product) and other.arguments.get("output_dir") == output
    }
    free = remedies.free_name(spec.kind, spec.arguments, planned)
    if free == name:
        return
    if name in planned:
        problem = f"A job that has not ended makes a {product} {name!r}."
    else:
        problem = f"There is already a {product} {name!r}."
    command = remedies.command(spec.kind, {**spec.arguments, "name": free})
    raise Conflict(problem, f"Choose another name: {free} is free. Next: %ilab {command}")
