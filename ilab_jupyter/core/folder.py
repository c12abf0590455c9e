"""SDK: what can be done to a model's folder; a part of `Model`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ilab_jupyter import paths
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.models import gguf, hub, merging
from ilab_jupyter.models.gguf import Converted
from ilab_jupyter.models.hub import Offer
from ilab_jupyter.models.upload import Uploaded, upload
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.registry import Datasets, ModelEntry, Models
from ilab_jupyter.training.processing import Processed, process

PathLike = str | os.PathLike[str]


class ModelFolder:
    """The methods of `Model` that download, merge, convert and upload its folder, and tokenize data for it.

    All raise InvalidInput for a wrong argument, NotFound and Unprocessable for wrong models or data,
    Conflict where a name is taken, Unavailable where a hub, a tool or room on the disk is missing, and
    `progress.Stopped` where the reporter asks to stop.
    """

    student_model: str

    @staticmethod
    def describe(repository: str, *, revision: str | None = None) -> Offer:
        """Size, licence and files of a hub's model, before anything is downloaded."""
        return hub.describe(repository, revision)

    @staticmethod
    def download(
        repository: PathLike,
        *,
        revision: str | None = None,
        name: str | None = None,
        output_dir: PathLike | None = None,
        confirm: Callable[[Offer], bool] | None = None,
        job_id: str | None = None,
        reporter: Reporter | None = None,
    ) -> ModelEntry:
        """A hub's model (`org/name`) or a model folder, into the registry, or into `output_dir`.

        Only safetensors, configuration and tokenizer are fetched. `confirm` is shown size and licence first;
        Stopped where it returns False. A broken connection is resumed at its byte; a failed download
        continues with the missing files. The result of an earlier call with this `job_id` is returned again.
        """
        return hub.download(
            os.fspath(repository),
            revision=revision,
            name=name,
            confirm=confirm,
            job_id=job_id,
            models=Models(None if output_dir is None else paths.given(output_dir)),
            reporter=reporter if reporter is not None else ConsoleReporter(),
        )

    def merge(
        self,
        adapter: PathLike | None = None,
        *,
        name: str | None = None,
        output_dir: PathLike | None = None,
        job_id: str | None = None,
        reporter: Reporter | None = None,
    ) -> ModelEntry:
        """The adapter (the model itself where None) merged into its base: a complete model, with its lineage.

        It goes into the registry under `name`, or into `output_dir`. What an earlier call with this `job_id`
        has made is given again.
        """
        model = self.student_model if adapter is None else os.fspath(adapter)
        return merging.merge(
            model,
            Models().resolve(model),
            name=name,
            job_id=job_id,
            models=Models(None if output_dir is None else paths.given(output_dir)),
            reporter=reporter if reporter is not None else ConsoleReporter(),
        )

    def convert(
        self,
        to: str = "gguf",
        *,
        quantization: str = "f16",
        output_dir: PathLike | None = None,
        reporter: Reporter | None = None,
    ) -> Converted:
        """The model as a GGUF file, by llama.cpp where it is installed; Unavailable where it is not.

        `quantization` is f32, f16, bf16, q8_0, or one of llama-quantize's, such as Q4_K_M.
        """
        if to != "gguf":
            raise InvalidInput(f"There is no conversion to {to[:40]!r}.", "Choose gguf.")
        reporter = reporter if reporter is not None else ConsoleReporter()
        folder = hub.obtain(self.student_model, Models(), reporter)
        output = None if output_dir is None else paths.given(output_dir)
        return gguf.convert(self.student_model, folder, quantization, output, reporter)

    def upload(
        self,
        repository: str,
        *,
        private: bool = True,
        message: str = "Upload the model",
        reporter: Reporter | None = None,
    ) -> Uploaded:
        """Send the model to a hub, with a card made from its lineage.

        The token is the one of `hf auth login` or of HF_TOKEN. No paths of this machine are sent.
        """
        folder = Models().resolve(self.student_model)
        reporter = reporter if reporter is not None else ConsoleReporter()
        return upload(
            self.student_model, folder, repository, private=private, message=message, reporter=reporter
        )

    def process_data(
        self,
        data_path: PathLike | Sequence[PathLike],
        output_dir: PathLike,
        *,
        max_seq_len: int = 4096,
        min_seq_len: int = 20,
        reporter: Reporter | None = None,
    ) -> Processed:
        """Messages JSONL (files or dataset names) as the model's tokens: `output_dir/data.jsonl`.

        Each line is {input_ids, labels, len}, as instructlab-training writes and trains on it, for rows of
        `min_seq_len` to `max_seq_len` - 1 tokens. The result names the rows that were left out, and why.
        """
        if not 0 <= min_seq_len < max_seq_len:
            raise InvalidInput(
                f"No row has between {min_seq_len} and {max_seq_len} tokens.",
                "Choose 0 <= min_seq_len < max_seq_len.",
            )
        given = [data_path] if isinstance(data_path, str | os.PathLike) else list(data_path)
        files = [file for item in given for file in Datasets().resolve(item)]
        reporter = reporter if reporter is not None else ConsoleReporter()
        return process(
            files,
            hub.obtain(self.student_model, Models(), reporter),
            paths.given(output_dir),
            max_seq_len=max_seq_len,
            min_seq_len=min_seq_len,
            reporter=reporter,
        )
