"""What is sent to a service that is killed, by whom, and what must come of it in an archive of others."""

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS / "engine"))

import usage  # noqa: E402, F401 - the packages of the repository, where they are not installed

import archive  # noqa: E402 - of the tests, which lie elsewhere
from counterparts import find  # noqa: E402
from dicom_factory import ct_series, hounsfield, write  # noqa: E402
from mmcaf_engine.bundle.bundle import load_bundle  # noqa: E402
from mmcaf_engine.pipeline import Answerer  # noqa: E402
from mmcaf_engine.result.writers.kinds import USUAL  # noqa: E402
from mmcaf_engine.service.config import AnswerSettings  # noqa: E402
from mmcaf_engine.session.session import open_session  # noqa: E402

PATIENT, SLICES, TEMPLATES = "P-77", 12, 4
CREATED = "2026-01-02T03:04:05Z"
"""Of every answer, so that it can be compared byte by byte."""
RECORD = json.dumps({"patient_id": PATIENT, "sex": "F", "age": 60}).encode()
SECONDS = 60.0


@dataclass(frozen=True)
class Study:
    """One study on the disk. template: which values its images have; those of one template are answered alike."""

    uid: str
    template: int
    files: tuple[Path, ...]


def make_studies(folder: Path, root: str, number: int) -> list[Study]:
    """So many studies, whose UIDs begin with `root`."""
    made = []
    for at in range(number):
        uid, template = f"{root}.{at + 1}", at % TEMPLATES
        uids = {"StudyInstanceUID": uid, "series_uid": f"{uid}.1", "PatientID": PATIENT}
        place = folder / str(at)
        place.mkdir(parents=True)
        files = []
        for index, image in enumerate(ct_series(hounsfield(SLICES, 16, 16, seed=template), **uids)):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{index + 1}"
            files.append(write(image, place / f"{index:02d}.dcm"))
        made.append(Study(uid, template, tuple(files)))
    return made


def by_storescu(study: Study, port: int) -> "subprocess.Popen[bytes]":
    """dcmtk's sender, once."""
    program = find("storescu")
    if program is None:
        sys.exit("dcmtk is not installed")
    words = [program, "-aet", "CT1", "-aec", "MMCAF", "-to", "5", "-td", "20", "127.0.0.1", str(port)]
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*words, *map(str, study.files)], **silent)


class Posting:
    """All instances in one STOW-RS request, once, in a thread; it looks as a process does: 0 where all were stored."""

    def __init__(self, study: Study, port: int) -> None:
        parts = [b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() for file in study.files]
        self._body = b"\r\n".join(parts) + b"\r\n--part--"
        self._url = f"http://127.0.0.1:{port}/dicom-web/studies"
        self.returncode: int | None = None
        self._thread = threading.Thread(target=self._post)
        self._thread.start()

    def poll(self) -> int | None:
        """Its return code, once it has one."""
        return self.returncode

    def _post(self) -> None:
        kind = 'multipart/related; type="application/dicom"; boundary=part'
        self.returncode = int(post(self._url, self._body, kind) != 200)


def post(url: str, body: bytes, kind: str) -> int:
    """The status; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as failure:
        failure.close()
        return int(failure.code)
    except (OSError, http.client.HTTPException):
        return 0


def fill(studies: Sequence[Study]) -> None:
    """The images are in the archive, too, which then tells how many there are."""
    program = find("storescu")
    files = [str(file) for study in studies for file in study.files]
    for at in range(0, len(files), 1000):
        words = [str(program), "-aec", "ORTHANC", "127.0.0.1", str(archive.DICOM_PORT), *files[at : at + 1000]]
        subprocess.run(words, check=True, capture_output=True)


class Oracle:
    """What the engine answers when nobody disturbs it, of the same images and at the same time, as it is sent.

    A context manager.
    """

    def __init__(self, bundle: Path) -> None:
        self._session = open_session(load_bundle(bundle), backend="onnxruntime", threads=1)
        self._answerer = Answerer(self._session)

    def __enter__(self) -> "Oracle":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def objects(self, study: Study) -> dict[str, str]:
        """SOPInstanceUID -> digest of the data set."""
        options = AnswerSettings().model_dump()
        answer = self._answerer.answer(study.files[0].parent, RECORD, **options, created=CREATED)
        made = list(answer.to_dicom(list(USUAL)).values())
        return {str(dcmread(BytesIO(one)).SOPInstanceUID): archive.content(one) for one in made}


def results(study: Study) -> dict[str, tuple[str, str]]:
    """SOPInstanceUID -> SOP class and digest, of what the archive holds of a study besides its images."""
    query = {"Level": "Instance", "Query": {"StudyInstanceUID": study.uid, "Modality": "SR\\OT"}}
    found = {}
    for one in json.loads(archive.fetch("/tools/find", json.dumps(query).encode())):
        content = archive.fetch(f"/instances/{one}/file")
        header = dcmread(BytesIO(content), stop_before_pixels=True)
        found[str(header.SOPInstanceUID)] = (str(header.SOPClassUID), archive.content(content))
    return found


@dataclass(frozen=True)
class Verdict:
    """What became of studies in the archive. lost, wrong, twice: a line for each case."""

    lost: list[str]
    wrong: list[str]
    twice: list[str]


def judge(studies: Sequence[Study], oracle: Oracle) -> Verdict:
    """Exactly the objects that the engine makes of each study, and each once."""
    verdict = Verdict([], [], [])
    for study in studies:
        right, found = oracle.objects(study), results(study)
        for uid, digest in right.items():
            if uid not in found:
                verdict.lost.append(f"{study.uid}: {uid} is not in the archive")
            elif found[uid][1] != digest:
                verdict.wrong.append(f"{study.uid}: {uid} is not as the engine makes it")
        if len(found) > len(right):
            kinds = Counter(kind for kind, _ in found.values())
            verdict.twice.append(f"{study.uid}: {', '.join(f'{count} of {kind}' for kind, count in kinds.items())}")
        elif others := found.keys() - right.keys():
            verdict.wrong.append(f"{study.uid}: {', '.join(sorted(others))} is none that the engine makes")
    return verdict


def until(seconds: float = SECONDS, pause: float = 0.002) -> Iterator[None]:
    """Look again and again. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        yield
        time.sleep(pause)
    raise TimeoutError(f"it did not come within {seconds:g} s")
