"""The manifest's heat maps that a second graph draws: where a network's feature map moved the score of a label."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Line, ManifestModel
from .tensors import ModulePath, TensorSpec

COTANGENT = "cotangent"
"""The graph's last input, float32 [1, scores]: of which combination of the scores the maps are."""

MORE_OFTEN_THAN_NOT = 0.5
_Parts = Annotated[int, Field(ge=1, le=1024)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Interval = tuple[_Share, _Share]


class ExplainedMap(ManifestModel):
    """One map, an output [1, *grid] of the graph, at least 0 and not scaled."""

    output: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    title: Annotated[Line, Field(min_length=1, max_length=40)] = Field(description="As pictures name it.")
    module: ModulePath = Field(description="The module of the source network whose output it is made from.")
    input: str = Field(description="The volume or image input that it lies over.")
    grid: tuple[_Parts, _Parts, _Parts] | tuple[_Parts, _Parts] = Field(
        description="Parts of equal size: along a volume's three axes, in its own order; rows and columns of an image."
    )


class PointingStudy(ManifestModel):
    """How often the largest value of a map lay in a lesion whose place was known (the pointing game).

    Intervals are of 95 %.
    """

    data: Annotated[Line, Field(min_length=1, max_length=400)] = Field(description="What it was measured on.")
    cases: int = Field(ge=1)
    hits: int = Field(ge=0)
    interval: _Interval = Field(description="Of hits / cases.")
    chance: _Share = Field(description="The share of a map's parts that lie in a lesion.")
    randomised: _Interval = Field(description="Of the same network with randomised weights.")

    @model_validator(mode="after")
    def _ordered(self) -> "PointingStudy":
        if self.hits > self.cases:
            raise ValueError(f"{self.hits} hits of {self.cases} cases")
        if not self.interval[0] <= self.hits / self.cases <= self.interval[1]:
            raise ValueError(f"the interval {self.interval} does not hold {self.hits} of {self.cases}")
        if self.randomised[0] > self.randomised[1]:
            raise ValueError(f"the interval {self.randomised} ends before it begins")
        return self

    @property
    def localises(self) -> bool:
        """Whether a map may be called a localisation: surely right more often than not, and more often than by chance
        and without any training.
        """
        return self.interval[0] > max(MORE_OFTEN_THAN_NOT, self.chance, self.randomised[1])


class ExplainSpec(ManifestModel):
    """The graph of the heat maps. Its inputs are the network's, in their order, with N = 1, and `COTANGENT`.

    gradcam: the sum of the feature map's channels, each weighted by the mean of the gradient over its places, where it
    is above 0 (Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2).
    """

    file: str = "explain.onnx"
    method: Literal["gradcam"] = "gradcam"
    maps: tuple[ExplainedMap, ...] = Field(min_length=1, max_length=16)
    judged: PointingStudy | None = Field(default=None, description="How far the maps localise; not known without.")


def check_explain(
    explain: ExplainSpec | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = ()
) -> None:
    """Each map lies over an input that it can be drawn over.

    Raises:
        ValueError: it does not, or two share a name, also with an output, beside which golden.npz holds them.
    """
    if explain is None:
        return
    names = [*(spec.name for spec in (*inputs, *outputs)), COTANGENT, *(entry.output for entry in explain.maps)]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"explain: {', '.join(repeated)} is the name of two of its inputs and maps, or of an output")
    sizes = {spec.name: spec.shape[2:] for spec in inputs if spec.kind in ("volume", "image")}
    for entry in explain.maps:
        size = sizes.get(entry.input)
        if size is None:
            raise ValueError(f"explain.{entry.output} lies over {entry.input}, which is no volume and no image")
        fits = len(entry.grid) == len(size) and all(
            part <= int(axis) for part, axis in zip(entry.grid, size, strict=True)
        )
        if not fits:
            raise ValueError(f"explain.{entry.output}: {entry.grid} are no parts of {entry.input}, which is {size}")
