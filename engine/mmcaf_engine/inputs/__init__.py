"""What the network sees: a study and a record made into its inputs."""

from .prepare import Prepared, prepare

__all__ = ["prepare", "Prepared"]
