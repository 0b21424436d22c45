"""One study's answer with all that it was made from, for whoever writes it down in another form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.bundle import Bundle
from ..inputs.prepare import Prepared
from ..outputs import Output, check_writable, within, write_all
from ..volume import Arrays
from .aggregate import StudyScore
from .card import draw_card
from .drawing import Picture
from .explain import ExplanationMap
from .key_slices import key_slices
from .page.answer_page import answer_page
from .placed_map import placed_maps
from .result import Result
from .sources import SourceImages, sources_of
from .writers.dicom import dicom_files, is_named_so
from .writers.fhir import to_fhir
from .writers.kinds import DEFAULT, Kinds

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Answer:
    """A result, and what it was made from.

    No pixel of the study is kept but as the network saw it.

    prepared: the windows, the table and the tokens, as the network saw them.
    outputs: of the network, by name, float32 [N, ...] for N windows.
    score: what the network's decision made of them; among it, which window decided.
    maps: heat maps of the deciding window, where they were asked for.
    self_test: that of the session that answered, as `Session.describe` tells it.
    """

    result: Result
    bundle: Bundle = field(repr=False)
    prepared: Prepared = field(repr=False)
    outputs: Arrays = field(repr=False)
    score: StudyScore = field(repr=False)
    maps: tuple[ExplanationMap, ...] = ()
    self_test: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def words(self) -> tuple[tuple[str, float], ...]:
        """The report's words that the network read, each with its attention weight, where that was asked for.

        Of several outputs that weigh words, the first's. They are the patient's: log none of them.
        """
        found = () if self.result.attention is None else self.result.attention.parts
        weights = next((part.weights for part in found if part.of == "words"), ())
        return tuple((one.name, one.weight) for one in weights)

    @property
    def source_images(self) -> Mapping[str, SourceImages]:
        """By input, which images the answer is about, and where they lie."""
        return sources_of(self.prepared)

    def to_fhir(self) -> dict[str, Any]:
        """As a FHIR R4 Bundle of plain dicts and lists; see `result.writers.fhir`."""
        headers = self._headers()
        return to_fhir(self.result, headers[0] if headers else None)

    def to_html(self) -> str:
        """As one HTML page for a person, which needs nothing but itself; see `result.page`.

        `replace(answer, result=deidentify(answer.result)).to_html()` is one without the patient, but for the pictures.
        """
        return answer_page(self.result, self.prepared, self.score.deciding, maps=self.maps, self_test=self.self_test)

    def to_dicom(self, objects: Kinds = DEFAULT, *, replaces: str | Path | None = None) -> dict[str, bytes]:
        """As DICOM objects: name of a file -> what it holds.

        Args:
            objects: which ones: "sr,sc" or ["sr", "sc"]; by default a structured report and a Secondary Capture, and a
                Parametric Map of each heat map over a volume.
            replaces: the file of an earlier structured report of the study, which the new one names as predecessor.

        Raises:
            UsageError: an object of another name, or of a heat map that there is not; or `replaces` is no such report.
            BackendError: highdicom is not installed.
            StudyError: the study is not of DICOM images, or its header lacks what an object needs.
        """

        keys = key_slices(self.prepared, self.score.deciding, self.maps)

        def picture() -> Picture:
            return draw_card(self.result, keys)

        return dicom_files(
            self.result,
            self.source_images,
            picture,
            objects,
            keys=keys,
            maps=placed_maps(self.prepared, self.bundle.manifest, self.maps),
            drawn=bool(self.maps),
            replaces=replaces,
        )

    def write_dicom(
        self,
        folder: str | Path,
        *,
        objects: Kinds = DEFAULT,
        replaces: str | Path | None = None,
        force: bool = False,
    ) -> tuple[Path, ...]:
        """Write `to_dicom` into a folder, which is made if it is missing; the files, all of them or none.

        Args:
            objects, replaces: as for `to_dicom`.
            force: write into a folder that is not empty, and replace files of these names.

        Raises:
            BackendError, StudyError: as `to_dicom`.
            UsageError: as `to_dicom`, or the folder is none, is not empty, cannot be written to, or holds an object of
                another answer in whose place none is written.
        """
        place = Output("dicom_out", Path(folder), kind="folder")
        check_writable([place], force=force)
        contents = within(place, self.to_dicom(objects, replaces=replaces), belong=is_named_so)
        write_all(contents, force=force)
        return tuple(output.path for output, _ in contents)

    def _headers(self) -> "list[Dataset]":
        """Of each input that was read from DICOM images."""
        return [images.header.dataset() for images in self.source_images.values() if images.header is not None]
