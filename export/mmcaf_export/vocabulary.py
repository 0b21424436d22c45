"""The vocabulary of a network that reads text: checked against its table of word pieces, and put into the bundle."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmcaf_engine.errors import BundleError, ExportError, Remedy
from mmcaf_engine.record.tokenizer import read_vocabulary

from .networks.bert import Bert

VOCABULARY = "vocabulary.txt"
SETTING = "text.vocabulary"


def vocabulary_given(document: Mapping[str, Any], settings: Mapping[str, str], network: nn.Module) -> Path | None:
    """The file that `text.vocabulary` was set to, held against the network; None of a network without text.

    Args:
        document: the manifest with the settings in it.

    Raises:
        ExportError: no file was named, it is no vocabulary, or its size, or that of the longest text, is not the
            network's.
    """
    text = document.get("text")
    if text is None:
        return None
    if SETTING not in settings:
        raise ExportError(
            "The network reads text, and its checkpoint does not hold the vocabulary that its word pieces are numbers "
            "of.",
            Remedy("Name the vocab.txt that it was trained with", option="set", value=f"{SETTING}=vocab.txt"),
        )
    path = Path(settings[SETTING])
    try:
        pieces = len(read_vocabulary(path))
    except BundleError as failure:
        raise ExportError(
            failure.problem, Remedy("Name another file", option="set", value=f"{SETTING}=vocab.txt")
        ) from None
    for module in network.modules():
        if not isinstance(module, Bert):
            continue
        if pieces != module.config.vocabulary:
            raise ExportError(
                f"{path}: holds {pieces} word pieces; the network has {module.config.vocabulary}.",
                Remedy("Name the vocabulary that it was trained with", option="set", value=f"{SETTING}=vocab.txt"),
            )
        places = _places(network, module)
        if isinstance(text["max_tokens"], int) and text["max_tokens"] > places:
            raise ExportError(
                f"text.max_tokens is {text['max_tokens']}; the network has places for {places}.",
                Remedy(
                    "Lower it, and the last of text.buckets with it",
                    option="set",
                    value=f"text.max_tokens={places}",
                ),
            )
    return path


def _places(network: nn.Module, encoder: Bert) -> int:
    """Word pieces of the longest text: those that the encoder has places for, or fewer where the network says so."""
    told = [getattr(getattr(module, "config", None), "longest_text", None) for module in network.modules()]
    return min([encoder.config.positions, *(longest for longest in told if isinstance(longest, int))])


def copy_vocabulary(path: Path, folder: Path) -> None:
    """Put the vocabulary into the bundle's folder, under the name that the manifest has for it."""
    shutil.copyfile(path, folder / VOCABULARY)
