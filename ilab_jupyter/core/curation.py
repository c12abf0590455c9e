"""SDK: the methods of `Data` for existing datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry.entries import Role

if TYPE_CHECKING:
    import pandas

    from ilab_jupyter.curation.annotation import Annotations
    from ilab_jupyter.curation.duplicates import Deduplicated
    from ilab_jupyter.curation.leakage import Leakage
    from ilab_jupyter.curation.mixing import Mix
    from ilab_jupyter.curation.previewing import Preview
    from ilab_jupyter.curation.validation import Validation

Source = str | os.PathLike[str]
Sources = Source | Sequence[Source]
_TRAINING: tuple[Role, ...] = ("skills", "knowledge")


class Curation:
    """Inspect and improve datasets. Each call can be used alone and needs no instance.

    `data` is a dataset's name, a run's folder, a messages JSONL file, or several of these. Of a generated
    run the training files are read. No call changes its input: a result is a new file, written atomically,
    beside the input where `output` is None. An existing file is only replaced with `overwrite`. Long calls
    report progress to a `reporter`, and raise Stopped, without leaving files, when it requests a stop.

    NotFound for an unknown name, Unprocessable for a file that is not JSON Lines and, in all calls but
    `validate`, for the first row that training would refuse, Conflict for an output that exists.
    """

    @staticmethod
    def validate(
        data: Sources,
        *,
        limit: int = 100,
        roles: Sequence[Role] = _TRAINING,
        reporter: Reporter | None = None,
    ) -> Validation:
        """All that keeps rows from being trained on, each with file, row and column; it raises for no row.

        >>> checked = Data.validate("pairs.jsonl")
        >>> checked.ok, checked.wrong_rows
        (True, 0)

        The first `limit` problems are kept, all are counted. One line of at most 8 MiB is held in memory.
        """
        from ilab_jupyter.curation import validation

        return validation.validate(data, limit=limit, roles=roles, reporter=reporter)

    @staticmethod
    def preview(
        data: Sources,
        model: Source = "starter",
        *,
        rows: int = 5,
        offset: int = 0,
        max_seq_length: int | None = None,
    ) -> Preview:
        """Show rows as `model` reads them: rendered, tokenized, with labels and truncation.

        >>> print(Data.preview("pairs.jsonl", rows=1))

        `max_seq_length` (tokens) is that of a training of the model where None. The labels come from the code
        of the training itself. Unprocessable for a model without a chat template.
        """
        from ilab_jupyter.curation import previewing

        return previewing.preview(
            data, os.fspath(model), rows=rows, offset=offset, max_seq_length=max_seq_length
        )

    @staticmethod
    def mix(
        recipe: Source | Mapping[str, Any],
        output: Source | None = None,
        *,
        system_prompt: str | None = None,
        seed: int = 42,
        replacement: bool | None = None,
        overwrite: bool = False,
        reporter: Reporter | None = None,
    ) -> Mix:
        """Mix several datasets into one: an InstructLab recipe (`skills_recipe_*.yaml`) or {dataset: weight}.

        >>> Data.mix({"skills.jsonl": 0.7, "knowledge.jsonl": 300}, "mixed.jsonl").rows

        A weight is a share of the dataset's rows (float) or a number of rows (int). A recipe file gives the
        rows that instructlab-sdg's `mix_datasets` gives. See `curation.mixing.mix`.
        """
        from ilab_jupyter.curation import mixing

        return mixing.mix(
            recipe,
            output,
            system_prompt=system_prompt,
            seed=seed,
            replacement=replacement,
            overwrite=overwrite,
            reporter=reporter,
        )

    @staticmethod
    def dedup(
        data: Sources,
        output: Source | None = None,
        *,
        threshold: float | None = 0.8,
        shingle: int = 3,
        overwrite: bool = False,
        limit: int = 100,
        reporter: Reporter | None = None,
    ) -> Deduplicated:
        """Remove rows that repeat an earlier one, and report which row represents which.

        >>> Data.dedup("pairs.jsonl", threshold=0.9).kept

        `threshold` is a Jaccard similarity over runs of `shingle` words; None takes out exact duplicates
        only. See `curation.duplicates.dedup` for what is compared.
        """
        from ilab_jupyter.curation import duplicates

        return duplicates.dedup(
            data,
            output,
            threshold=threshold,
            shingle=shingle,
            overwrite=overwrite,
            limit=limit,
            reporter=reporter,
        )

    @staticmethod
    def leakage(
        train: Sources,
        evaluation: Sources,
        *,
        drop: bool = False,
        output: Source | None = None,
        threshold: float = 0.8,
        overlap: float = 0.0,
        overwrite: bool = False,
        limit: int = 100,
        reporter: Reporter | None = None,
    ) -> Leakage:
        """Find questions of an evaluation in the training data; `drop` writes the data without those rows.

        >>> Data.leakage("pairs.jsonl", "questions.jsonl").clean

        See `curation.leakage.leakage` for the four kinds of leaks and where they come from.
        """
        from ilab_jupyter.curation import leakage as leaks

        return leaks.leakage(
            train,
            evaluation,
            drop=drop,
            output=output,
            threshold=threshold,
            overlap=overlap,
            overwrite=overwrite,
            limit=limit,
            reporter=reporter,
        )

    @staticmethod
    def annotate(data: Sources, output: Source | None = None) -> Annotations:
        """Open an annotation session, new or resumed, that exports preference data.

        >>> with Data.annotate("pairs.jsonl") as annotations:
        ...     for row in annotations:
        ...         annotations.accept(row, by="maren")
        ...     annotations.export(format="sft")

        `output` is the session's state file. Conflict where another session has it open.
        """
        from ilab_jupyter.curation import annotation

        return annotation.annotate(data, output)

    @staticmethod
    def to_dataframe(data: Sources, *, roles: Sequence[Role] = _TRAINING) -> pandas.DataFrame:
        """A pandas table: question, answer, context, system, leaf, teacher, unmask, file, row.

        >>> Data.to_dataframe("pairs.jsonl").groupby("leaf").size()
        """
        from ilab_jupyter.curation import frame

        return frame.to_dataframe(data, roles=roles)
