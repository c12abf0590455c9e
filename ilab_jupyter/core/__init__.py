"""The InstructLab SDK: one class a command group, each usable alone.

Heavy libraries load inside the methods that need them.
"""

from ilab_jupyter.core.data import Data
from ilab_jupyter.core.model import Model
from ilab_jupyter.core.system import System
from ilab_jupyter.core.taxonomy import Taxonomy

__all__ = ["Data", "Model", "System", "Taxonomy"]
