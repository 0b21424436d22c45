"""The manifest's parts: a network cut in two, so that a report is encoded once for all its images."""

from pydantic import Field

from .base import ManifestModel
from .tensors import Precision, TensorSpec


class PartFiles(ManifestModel):
    """The two ONNX files of one precision; together they answer as the whole network does."""

    text: str = Field(description="Tokens and their mask -> words.")
    rest: str = Field(description="The network's inputs, with words in place of the tokens -> its outputs.")


class ReportParts(ManifestModel):
    """A network cut where what depends on the report alone ends."""

    words: TensorSpec = Field(description="What goes from one part to the other, such as float32 [N, L, features].")
    models: dict[Precision, PartFiles] = Field(min_length=1, description="Precision -> its two files.")
