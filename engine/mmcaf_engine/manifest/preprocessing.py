"""The manifest's preprocessing: which steps lead from a study to the network's volume inputs, in which order."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ..orientation import AXIS_OF, HEAD_BACK_LEFT
from .arithmetic import check_arithmetic, single
from .base import ManifestModel


class ResizeStep(ManifestModel):
    """Resize every slice in-plane by area averaging (exact pixel coverage, as OpenCV's INTER_AREA)."""

    step: Literal["resize"] = "resize"
    method: Literal["area"] = "area"
    rows: int = Field(ge=1, le=4096)
    columns: int = Field(ge=1, le=4096)
    rounding: Literal["none", "half_even", "opencv"] = Field(
        description="Whole intensities afterwards, as of a resize of integer pixels. half_even: means in the middle of "
        "two become the even one; opencv: to the bit as OpenCV's INTER_AREA, which does so too, but rounds up where "
        "rows and columns are both halved, and tells such means by single-precision sums in an order of its own."
    )

    version_2_values: ClassVar[Mapping[str, frozenset[str]]] = {"rounding": frozenset({"opencv"})}


class CenterCropStep(ManifestModel):
    """Keep the central rows x columns of every slice; an odd margin leaves the smaller half in front."""

    step: Literal["center_crop"] = "center_crop"
    rows: int = Field(ge=1, le=4096)
    columns: int = Field(ge=1, le=4096)


class ClipScaleStep(ManifestModel):
    """Map [lower, upper] to [0, 1] in float32 and clip what lies outside."""

    step: Literal["clip_scale"] = "clip_scale"
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> "ClipScaleStep":
        if self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        check_arithmetic(
            f"lower {self.lower:g} and upper {self.upper:g}",
            lambda value: single(value - single(self.lower)) / single(single(self.upper) - single(self.lower)),
            (self.lower, self.upper),
        )
        return self


class SubtractStep(ManifestModel):
    """Subtract a constant, usually the training set's mean."""

    step: Literal["subtract"] = "subtract"
    value: float

    @model_validator(mode="after")
    def _meant(self) -> "SubtractStep":
        check_arithmetic(f"value {self.value:g}", lambda value: value - single(self.value), (0.0, 1.0))
        return self


class ResizeVolumeStep(ManifestModel):
    """Resize the whole volume by adaptive average pooling.

    Of N voxels along an axis, output i of n is the plain mean of floor(i * N / n) to ceil((i + 1) * N / n) - 1; where
    n > N, voxels repeat.
    """

    step: Literal["resize_volume"] = "resize_volume"
    method: Literal["adaptive_area"] = "adaptive_area"
    size: tuple[
        Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=1024)]
    ] = Field(description="Voxels along each axis, in the order of `axes`: the last three of the network's input.")


class StandardiseStep(ManifestModel):
    """Give each volume mean 0 and standard deviation 1: (x - mean) / std over all its voxels.

    The standard deviation is the population's; a constant volume becomes 0.
    """

    step: Literal["standardise"] = "standardise"


Step = Annotated[
    ResizeStep | CenterCropStep | ClipScaleStep | SubtractStep | ResizeVolumeStep | StandardiseStep,
    Field(discriminator="step"),
]


class WindowSpec(ManifestModel):
    """How the slices of a study become windows of equal depth."""

    slices: int = Field(ge=1, le=4096)
    stride: int = Field(ge=1, le=4096, description="Slices from one window's start to the next.")
    pad_value: float = Field(description="Intensity appended after the last slice of a short study.")
    trained_on: Literal["study", "lesion"] = Field(
        default="study",
        description="lesion: the network's makers gave it windows at an annotated lesion alone; an answer over a whole "
        "study says so.",
    )
    lesion_field: str | None = Field(
        default=None,
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="Field of the record that may name the slices of the lesion; windows over these alone are scored.",
    )

    order: Literal["head", "axes"] = Field(
        default="head",
        description="Which slice is the first when windows are laid, centred on a lesion and padded: the lowest of the "
        "patient, or the first along `axes`, so that a short study whose slices run to the feet is padded at the feet.",
    )

    version_2: ClassVar[frozenset[str]] = frozenset({"trained_on", "lesion_field", "order"})

    @model_validator(mode="after")
    def _meant(self) -> "WindowSpec":
        check_arithmetic(f"pad_value {self.pad_value:g}", single, (self.pad_value,))
        return self


class PreprocessingSpec(ManifestModel):
    """From a series' slices to a volume input; the same for every series of a network that takes several."""

    modality: Literal["CT", "MR"]
    intensity: Literal["hounsfield", "rescaled", "stored"] = Field(
        description="hounsfield: after RescaleSlope and RescaleIntercept, which must give HU; rescaled: after them, "
        "in whatever unit, the values as they are where there are none; stored: the raw pixel values."
    )
    windows: WindowSpec | None = Field(default=None, description="Without it the whole series is one window.")
    steps: tuple[Step, ...]
    oblique: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="Of MR: accept slices that lean by 5 to 20 degrees against the patient, as they lie, unless the "
        "caller refuses them.",
    )
    axes: str = Field(
        default=HEAD_BACK_LEFT,
        pattern="^[LRAPSI]{3}$",
        description="Where the patient lies along the last three axes of the volume input: each letter says whither "
        "its index rises, to Left, Right, Anterior, Posterior, Superior or Inferior. SPL is depth to the head, rows to "
        "the back, columns to the left; LAS is what NIfTI files of axial series usually store, slices last.",
    )

    version_2: ClassVar[frozenset[str]] = frozenset({"oblique"})

    @field_validator("axes")
    @classmethod
    def _one_of_each(cls, axes: str) -> str:
        if len({AXIS_OF[letter] for letter in axes}) != 3:
            raise ValueError(f"{axes!r} must hold one of L and R, one of A and P, and one of S and I")
        return axes

    @model_validator(mode="after")
    def _in_order(self) -> "PreprocessingSpec":
        if self.oblique == "accept" and self.modality != "MR":
            raise ValueError(f"oblique slices are accepted of MR, not of {self.modality}")
        kinds = [step.step for step in self.steps]
        if (self.windows is None) != ("resize_volume" in kinds):
            raise ValueError("either windows or one resize_volume step must say how deep the network's input is")
        if kinds.count("resize_volume") > 1:
            raise ValueError("there is more than one resize_volume step")
        whole = next((at for at, kind in enumerate(kinds) if kind in ("resize_volume", "standardise")), len(kinds))
        if self.windows is not None and whole < len(kinds):
            raise ValueError(f"the step {kinds[whole]} is of whole volumes; it needs windows to be null")
        for kind in kinds[whole:]:
            if kind in ("resize", "center_crop"):
                raise ValueError(f"the step {kind} is of single slices; it must come before {kinds[whole]}")
        return self

    @property
    def slice_axis(self) -> int:
        """Which of the volume's three axes counts slices, 0 to 2."""
        return next(at for at, letter in enumerate(self.axes) if letter in "SI")

    @property
    def from_head(self) -> bool:
        """Whether windows are laid and padded from the patient's head to the feet."""
        return self.windows is not None and self.windows.order == "axes" and "I" in self.axes

    @property
    def size(self) -> tuple[int, int, int] | None:
        """The volume's three axes, where the whole volume is resized."""
        return next((step.size for step in self.steps if isinstance(step, ResizeVolumeStep)), None)
