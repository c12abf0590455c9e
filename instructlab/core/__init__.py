"""The InstructLab Python SDK under its public name."""

from ilab_jupyter.core import Data, Model, System, Taxonomy

__all__ = ["Data", "Model", "System", "Taxonomy"]
