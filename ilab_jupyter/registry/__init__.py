"""Models, datasets and lineage: what is on disk and where it came from. No torch."""

from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.entries import DatasetEntry, DatasetFile, DatasetRow, DatasetRows, ModelEntry
from ilab_jupyter.registry.models import Models

__all__ = ["DatasetEntry", "DatasetFile", "DatasetRow", "DatasetRows", "Datasets", "ModelEntry", "Models"]
