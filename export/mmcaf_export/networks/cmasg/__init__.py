"""CMASG-Bi-LSTM: class of a chest radiograph with its report."""

from .config import CmasgConfig
from .network import CmasgNet

__all__ = ["CmasgConfig", "CmasgNet"]
