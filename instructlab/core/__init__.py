"""The InstructLab Python SDK under its public name."""

from ilab_jupyter.core import RAG, Config, Data, Model, System, Taxonomy

__all__ = ["RAG", "Config", "Data", "Model", "System", "Taxonomy"]
