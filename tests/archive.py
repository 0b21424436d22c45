"""Orthanc, an archive of others, and OHIF, a viewer of others, in a network of their own that nobody else can reach.

    unshare --net python tests/archive.py STUDY OBJECTS             (or unshare --net --map-root-user, without root)
    unshare --net python tests/archive.py STUDY OBJECTS --viewer OHIF --picture FILE.png --series UID

sends the DICOM files of both folders by C-STORE and by STOW-RS, fetches them again, and prints as JSON what became of
them; with a viewer also what it shows of the study. As packaged, Orthanc listens on every interface: it is only ever
started where there is none but the loopback. All processes end with this one.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from browser import CHROMIUM, browser
from counterparts import find

DICOM_PORT, HTTP_PORT, VIEWER_PORT = 4242, 8042, 3000
ORTHANC = f"http://127.0.0.1:{HTTP_PORT}"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SECONDS = 60
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_PR_SET_PDEATHSIG = 1


def isolated() -> bool:
    """Whether no interface but the loopback is up here; that is then brought up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:

        def flags(name: str) -> int:
            asked = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh", name.encode(), 0) + b"\0" * 22)
            return int(struct.unpack_from("16sh", asked)[1])

        if any(flags(name) & _IFF_UP for _, name in socket.if_nameindex() if name != "lo"):
            return False
        up = struct.pack("16sh", b"lo", flags("lo") | _IFF_UP) + b"\0" * 22
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)
    return True


def end_with_parent() -> None:
    """However this process ends, a child of it gets SIGKILL (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def archive(
    environment: Mapping[str, str] = MappingProxyType({}),
    kept: Path | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator["subprocess.Popen[bytes]"]:
    """An empty Orthanc, gone with all that it stored after the block.

    Args:
        environment: variables besides ours.
        kept: a folder for what it stores, which stays.
        settings: of its configuration, besides ours.
    """
    with tempfile.TemporaryDirectory() if kept is None else contextlib.nullcontext(str(kept)) as folder:
        told = {
            "Name": "Orthanc",
            "StorageDirectory": folder,
            "IndexDirectory": folder,
            "DicomAet": "ORTHANC",
            "DicomPort": DICOM_PORT,
            "HttpPort": HTTP_PORT,
            "RemoteAccessAllowed": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }
        file = Path(folder) / "orthanc.json"
        file.write_text(json.dumps(told))
        program = find("Orthanc")
        if program is None or not PLUGIN.exists():
            sys.exit("orthanc or orthanc-dicomweb is not installed")
        running = subprocess.Popen(
            [program, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
            env={**os.environ, **environment},
        )
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and running.poll() is None:
                with contextlib.suppress(OSError):
                    fetch("/system")
                    break
                time.sleep(0.05)
            yield running
        finally:
            running.terminate()
            running.wait()


def fetch(path: str, data: bytes | None = None, method: str | None = None, **headers: str) -> bytes:
    """What Orthanc answers. Raises OSError where it refuses."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{ORTHANC}{path}", data, named, method=method)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        body: bytes = answer.read()
        return body


def content(data: bytes) -> str:
    """A digest of the data set, without the file's own header, which is the archive's."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dcmread(BytesIO(data)))
    return hashlib.sha256(stream.getvalue()).hexdigest()


def by_c_store(files: list[Path]) -> dict[str, bool]:
    """Name -> whether what the archive gives back is what it was sent."""
    sender = find("storescu")
    if sender is None:
        sys.exit("dcmtk is not installed")
    found = {}
    for file in files:
        sent = subprocess.run(
            [sender, "--required", "-aec", "ORTHANC", "127.0.0.1", str(DICOM_PORT), str(file)],
            capture_output=True,
            check=False,
        )
        found[file.name] = sent.returncode == 0 and given_back(file)
    return found


def given_back(file: Path) -> bool:
    uid = dcmread(file, stop_before_pixels=True, force=True).get("SOPInstanceUID", "")
    matches = json.loads(fetch("/tools/lookup", uid.encode()))
    return bool(matches) and content(fetch(f"/instances/{matches[0]['ID']}/file")) == content(file.read_bytes())


def by_stow(files: list[Path]) -> dict[str, bool]:
    """The same, by STOW-RS and WADO-RS (PS3.18 10.5, 10.4)."""
    found = {}
    for file in files:
        body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n--part--"
        kind = 'multipart/related; type="application/dicom"; boundary=part'
        try:
            fetch("/dicom-web/studies", body, Content_Type=kind, Accept="application/dicom+json")
            one = dcmread(file, stop_before_pixels=True)
            place = f"studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
            answer = fetch(f"/dicom-web/{place}", Accept='multipart/related; type="application/dicom"')
            found[file.name] = content(only_part(answer)) == content(file.read_bytes())
        except (OSError, urllib.error.URLError, AttributeError):
            found[file.name] = False
    return found


def only_part(answer: bytes) -> bytes:
    """Of a multipart answer (RFC 2046 5.1.1)."""
    return answer[answer.index(b"\r\n\r\n") + 4 : answer.rindex(b"\r\n--")]


def empty() -> None:
    for study in json.loads(fetch("/studies")):
        fetch(f"/studies/{study}", method="DELETE")


APP_CONFIG = """window.config = {
  routerBasename: '/', showStudyList: false, extensions: [], modes: [], customizationService: {},
  useCPURendering: false, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  maxNumberOfWebWorkers: 1, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'dicomweb',
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: { friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web',
      wadoRoot: '/dicom-web', qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true, staticWado: false,
      omitQuotationForMultipartRequest: true } }] };
"""


def serve_viewer(folder: Path) -> ThreadingHTTPServer:
    """OHIF's files, its settings, and the archive, all as one server on the loopback."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **options)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web"):
                self.pass_on()
            elif path == "/app-config.js":
                self.give(200, "text/javascript", APP_CONFIG.encode())
            else:
                if not (folder / path.lstrip("/")).is_file():
                    self.path = "/index.html"
                super().do_GET()

        def pass_on(self) -> None:
            request = urllib.request.Request(
                f"{ORTHANC}{self.path}", headers={"Accept": self.headers["Accept"] or "*/*"}
            )
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    self.give(answer.status, answer.headers["Content-Type"] or "", answer.read())
            except urllib.error.HTTPError as failure:
                self.give(failure.code, "text/plain", failure.read())

        def give(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", VIEWER_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


SKIP_TOUR = "[...document.querySelectorAll('button')].find((one) => one.textContent.includes('Skip all'))?.click()"


def shown(viewer: Path, address: str, picture: Path, awaited: list[str]) -> str:
    """What OHIF says of the study once all awaited words are there; a picture of it, once that holds still."""
    program = find(*CHROMIUM)
    if program is None:
        sys.exit("chromium is not installed")
    server = serve_viewer(viewer)
    try:
        with browser(program) as page:
            page.open(f"http://127.0.0.1:{VIEWER_PORT}/viewer?{address}", width=1280, height=720)
            deadline, text, before = time.monotonic() + SECONDS, "", b""
            while time.monotonic() < deadline:
                time.sleep(1)
                page.evaluate(SKIP_TOUR)
                text = page.evaluate("document.body.innerText")
                seen = page.picture(height=720)
                if seen == before and all(word in text.split() for word in awaited):
                    break
                before = seen
            picture.write_bytes(before)
            return text
    finally:
        server.shutdown()


def reddish(picture: Path) -> int:
    """Pixels of a clear red: OHIF itself has none."""
    from PIL import Image

    colours = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int(((colours[..., 0] - colours[..., 1] > 60) & (colours[..., 0] - colours[..., 2] > 30)).sum())


def main() -> None:
    """Print what became of the files."""
    parser = argparse.ArgumentParser(description="Send DICOM files to an archive and look at them in a viewer.")
    parser.add_argument("study", type=Path)
    parser.add_argument("objects", type=Path)
    parser.add_argument("--viewer", type=Path, help="OHIF's dist folder")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--series", help="UID of the series to show")
    parser.add_argument("--awaited", nargs="*", default=[], help="words that the viewer shows once it is done")
    given = parser.parse_args()
    if not isolated():
        parser.error("there are other networks than the loopback here; start it by unshare --net")
    files, images = sorted(given.objects.iterdir()), sorted(given.study.iterdir())
    with archive():
        found: dict[str, Any] = {"c_store": by_c_store(files)}
        empty()
        found["stow"] = by_stow(files)
        if given.viewer is not None:
            by_stow(images)
            study = dcmread(images[0], stop_before_pixels=True).StudyInstanceUID
            address = f"StudyInstanceUIDs={study}&initialSeriesInstanceUID={given.series or ''}"
            found["shown"] = shown(given.viewer, address, given.picture, given.awaited)
            found["red"] = reddish(given.picture)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
