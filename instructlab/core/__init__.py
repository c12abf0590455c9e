"""The InstructLab Python SDK under its public name."""

from ilab_jupyter.core import Config, Data, Model, System, Taxonomy

__all__ = ["Config", "Data", "Model", "System", "Taxonomy"]
