"""TLS as BCP 195, in and out: who is let in, whom we trust, and that a refusal says why."""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage

from certificates import Authority, Shown
from counterparts import need
from engine.service.test_intake import encoded
from engine.service.test_receiver import KEY, PLENTY, image, rows
from engine.service.test_sender import Archive, parcels, result_object
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service.check import check_service
from mmcaf_engine.service.config import Config, Destination, DicomSettings, Peer, RecordSettings, Tls
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.delivery import DELIVERED
from mmcaf_engine.service.dimse.carrier import StoreCarrier
from mmcaf_engine.service.dimse.receiver import Receiver
from mmcaf_engine.service.fhir_client import FhirClient, SearchError
from mmcaf_engine.service.http_carriers import StowCarrier
from mmcaf_engine.service.probe import Finding
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.tls import client_context, server_context

pynetdicom = pytest.importorskip("pynetdicom")
ELSEWHERE = Path(__file__).parents[2] / "archive_tls.py"


class Papers:
    """Two authorities, ours and another, and what they vouch for."""

    def __init__(self, folder: Path) -> None:
        self.hospital, self.other = Authority(folder, "hospital"), Authority(folder, "other")
        self.node = self.hospital.vouch("node")
        self.scanner = self.hospital.vouch("scanner")
        self.expired = self.hospital.vouch("expired", expired=True)
        self.stranger = self.other.vouch("stranger")
        self.elsewhere = self.hospital.vouch("elsewhere", host="pacs.example")

    def tls(self, shown: Shown, *, mutual: bool = True) -> Tls:
        trusted = self.hospital.file if mutual else None
        return Tls(certificate=shown.certificate, key=shown.key, trusted=trusted)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def receiver(papers: Papers, tmp_path: Path) -> Iterator[Receiver]:
    peers = (Peer(ae_title="CT1", certificate_name="scanner"), Peer(ae_title="CT2", host="127.0.0.1"))
    settings = DicomSettings(port=1, tls=papers.tls(papers.node), peers=peers).model_copy(update={"port": 0})
    with Receipt(tmp_path, PLENTY) as taking, Receiver(settings, taking, PLENTY, KEY) as receiver:
        yield receiver


def client(papers: Papers, shown: Shown | None, **more: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=papers.hospital.file)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    for name, value in more.items():
        setattr(context, name, value)
    return context


def sends(receiver: Receiver, context: ssl.SSLContext | None, title: str = "CT1") -> bool:
    """Whether an image is taken."""
    entity = pynetdicom.AE(title)
    entity.acse_timeout = entity.connection_timeout = 5
    entity.add_requested_context(CTImageStorage)
    tls = None if context is None else (context, "127.0.0.1")
    association = entity.associate("127.0.0.1", receiver.port, ae_title="MMCAF", tls_args=tls)
    if not association.is_established:
        return False
    status = association.send_c_store(image())
    association.release()
    return bool(status) and status.Status == 0


# Who may send


def test_a_trusted_certificate_of_the_right_name_is_let_in(receiver: Receiver, papers: Papers, tmp_path: Path) -> None:
    assert sends(receiver, client(papers, papers.scanner)) and len(rows(tmp_path)) == 1
    assert not sends(receiver, client(papers, papers.elsewhere), "CT1"), "CT1's certificate is another"
    assert sends(receiver, client(papers, papers.elsewhere), "CT2"), "of CT2 any will do that is vouched for"
    assert receiver.refused == {"peer not known": 1}


@pytest.mark.parametrize("who", ["anonymous", "expired", "stranger", "plain", "tls-1.1", "weak-suite"])
def test_others_are_not_let_in_and_the_reason_is_said(
    who: str, receiver: Receiver, papers: Papers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contexts = {
        "anonymous": lambda: client(papers, None),
        "expired": lambda: client(papers, papers.expired),
        "stranger": lambda: client(papers, papers.stranger),
        "plain": lambda: None,
        "tls-1.1": lambda: old(client(papers, papers.scanner)),
        "weak-suite": lambda: weak(client(papers, papers.scanner)),
    }
    assert not sends(receiver, contexts[who]()) and rows(tmp_path) == []
    said = {"expired": "certificate has expired", "stranger": "unable to get local issuer certificate"}
    ended = time.monotonic() + 5
    while not receiver.refused and time.monotonic() < ended:
        time.sleep(0.01)
    assert receiver.refused == {"no TLS": 1} and said.get(who, "no TLS connection") in caplog.text
    assert sends(receiver, client(papers, papers.scanner)), "and others are still served"


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def weak(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384")
    return context


@pytest.mark.full
@pytest.mark.parametrize("change", [old, weak])
def test_a_server_without_these_rules_would_let_them_in(change: Any, papers: Papers) -> None:
    """Else the two refusals above could be the client's own."""
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.load_cert_chain(papers.node.certificate, papers.node.key)
    lax.minimum_version = ssl.TLSVersion.TLSv1
    lax.set_ciphers("ALL:@SECLEVEL=0")
    versions = []
    for context in (lax, server_context(papers.tls(papers.node))):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            thread = threading.Thread(target=shake, args=(context, ours))
            thread.start()
            try:
                with change(client(papers, papers.scanner)).wrap_socket(theirs, server_hostname="127.0.0.1") as secured:
                    versions.append(secured.version())
            except (ssl.SSLError, OSError):
                versions.append("refused")
            thread.join()
    assert versions == ["TLSv1.1" if change is old else "TLSv1.2", "refused"]


def shake(context: ssl.SSLContext, plain: socket.socket) -> None:
    try:
        context.wrap_socket(plain, server_side=True).close()
    except OSError:
        plain.close()


def test_who_stays_silent_keeps_nobody_out(receiver: Receiver, papers: Papers) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port)), socket.create_connection(("127.0.0.1", receiver.port)):
        begun = time.monotonic()
        assert sends(receiver, client(papers, papers.scanner)) and time.monotonic() - begun < 5


@pytest.mark.parametrize("profile", ["--profile-bcp195", "--profile-bcp195-nd"])
def test_dcmtk_is_let_in_by_the_profiles_of_bcp_195(
    profile: str, receiver: Receiver, papers: Papers, tmp_path: Path
) -> None:
    shown = ["+tls", str(papers.scanner.key), str(papers.scanner.certificate), "+cf", str(papers.hospital.file)]
    assert storescu(receiver, tmp_path, *shown, profile) == 0 and len(rows(tmp_path)) == 1


def test_dcmtk_is_not_let_in_otherwise(receiver: Receiver, papers: Papers, tmp_path: Path) -> None:
    known = ["+cf", str(papers.hospital.file)]
    assert storescu(receiver, tmp_path, "--anonymous-tls", *known) != 0
    assert storescu(receiver, tmp_path, "+tls", str(papers.expired.key), str(papers.expired.certificate), *known) != 0
    assert storescu(receiver, tmp_path, "+tls", str(papers.stranger.key), str(papers.stranger.certificate), *known) != 0
    assert storescu(receiver, tmp_path) != 0 and rows(tmp_path) == []


def storescu(receiver: Receiver, folder: Path, *options: str) -> int:
    program = need("storescu")
    file = folder / "one.dcm"
    file.write_bytes(encoded(image()))
    called = [program, "-aet", "CT1", "-aec", "MMCAF", "-ta", "5", *options, "127.0.0.1", str(receiver.port), str(file)]
    return subprocess.run(called, capture_output=True, timeout=30, check=False).returncode


def test_files_that_are_no_certificates_are_named(papers: Papers, tmp_path: Path) -> None:
    for tls in (
        Tls(certificate=tmp_path / "missing.pem", key=papers.node.key),
        Tls(certificate=papers.node.certificate, key=papers.scanner.key),
        Tls(certificate=papers.node.certificate, key=papers.node.key, trusted=papers.node.key),
    ):
        with pytest.raises(ServiceError, match=tls.certificate.name):
            server_context(tls)
        with pytest.raises(ServiceError, match="pacs"):
            client_context("pacs", tls=tls)


# Whom we send to


@contextmanager
def archive(papers: Papers, shown: Shown) -> Iterator[Archive]:
    """A DICOM node with TLS, which asks for our certificate."""
    with Archive() as made:
        made.server.ssl_context = server_context(papers.tls(shown))
        yield made


def sending(papers: Papers, port: int, **more: Any) -> StoreCarrier:
    fields = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port, **more}
    return StoreCarrier(Destination.model_validate(fields), "MMCAF", timeout_s=5)


def test_results_go_to_a_trusted_archive(papers: Papers, tmp_path: Path) -> None:
    with archive(papers, papers.scanner) as made:
        carrier = sending(papers, made.port, tls=papers.tls(papers.node))
        assert carrier.echo() is None and carrier.send(parcels(tmp_path)) == DELIVERED and len(made.got) == 2


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        ("elsewhere", "node", "IP address mismatch"),
        ("stranger", "node", "unable to get local issuer certificate"),
        ("expired", "node", "certificate has expired"),
    ],
)
def test_no_result_goes_to_who_is_not_trusted(theirs: str, ours: str, why: str, papers: Papers, tmp_path: Path) -> None:
    with archive(papers, getattr(papers, theirs)) as made:
        sent = sending(papers, made.port, tls=papers.tls(getattr(papers, ours))).send(parcels(tmp_path))
        assert sent.state == "failed" and sent.retry and why in sent.reason and made.got == []


def test_no_result_goes_in_the_clear_where_tls_was_asked_for(papers: Papers, tmp_path: Path) -> None:
    with Archive() as made:
        sent = sending(papers, made.port, trusted=papers.hospital.file).send(parcels(tmp_path))
        assert sent.state == "failed" and "TLS" in sent.reason and made.got == []


def test_dcmtk_takes_our_results_with_our_certificate_alone(papers: Papers, tmp_path: Path) -> None:
    program = need("storescp")
    folder, port = tmp_path / "got", free_port()
    folder.mkdir()
    tls = ["+tls", str(papers.scanner.key), str(papers.scanner.certificate), "+cf", str(papers.hospital.file)]
    command = [program, *tls, "--profile-bcp195-nd", "-od", str(folder), "-aet", "PACS", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        carrier = sending(papers, port, tls=papers.tls(papers.node))
        ended = time.monotonic() + 10
        while carrier.echo() is not None and time.monotonic() < ended:
            time.sleep(0.02)
        assert carrier.send(parcels(tmp_path)) == DELIVERED and len(list(folder.iterdir())) == 2
        assert sending(papers, port, trusted=papers.hospital.file).send(parcels(tmp_path)).state == "failed"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Web(http.server.BaseHTTPRequestHandler):
    """Takes whatever is sent, and knows FHIR's metadata."""

    got: list[bytes]

    def do_POST(self) -> None:
        type(self).got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.give(b"{}")

    def do_GET(self) -> None:
        self.give(b'{"resourceType": "CapabilityStatement"}')

    def give(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web(papers: Papers, shown: Shown) -> Iterator[str]:
    """Address of an https server."""
    Web.got = []

    class Server(http.server.ThreadingHTTPServer):
        def get_request(self) -> tuple[Any, Any]:
            plain, caller = self.socket.accept()
            return server_context(papers.tls(shown, mutual=False)).wrap_socket(plain, server_side=True), caller

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def stow(url: str, **more: Any) -> StowCarrier:
    return StowCarrier(Destination.model_validate({"name": "pacs", "kind": "dicomweb", "url": url, **more}))


@pytest.mark.parametrize("part", ["dicom", "http"])
def test_a_certificate_that_nobody_accepts_is_found_before_anything_runs(
    part: str, papers: Papers, tmp_path: Path
) -> None:
    def findings(shown: Shown, **more: bool) -> dict[str, Finding]:
        tls = papers.tls(shown, **more).model_dump()
        own = {"port": free_port(), "tls": tls}
        fields = {"spool": tmp_path / "spool", "bundle": [{"name": "lung", "path": tmp_path / "none"}], "http": False}
        disk = {"reserve_mib": 0, "hard_mib": 0}
        return {one.what: one for one in check_service(Config.model_validate({**fields, "disk": disk, part: own}))}

    assert findings(papers.node)[part].ok and findings(papers.node, mutual=False)[part].ok
    expired, missing = findings(papers.expired)[part], findings(Shown(tmp_path / "no.pem", papers.node.key))[part]
    assert not expired.ok and "has expired" in expired.detail and expired.remedies
    assert not missing.ok and "no.pem" in missing.detail


def test_an_archive_that_refuses_our_certificate_is_quoted(papers: Papers, tmp_path: Path) -> None:
    with archive(papers, papers.scanner) as made:
        for shown, why in (
            (None, "CERTIFICATE_REQUIRED"),
            (papers.stranger, "UNKNOWN_CA"),
            (papers.expired, "EXPIRED"),
        ):
            ours = {} if shown is None else {"tls": papers.tls(shown)}
            sent = sending(papers, made.port, trusted=papers.hospital.file, **ours).send(parcels(tmp_path))
            assert sent.state == "failed" and sent.retry and why in sent.reason


@pytest.mark.full
def test_orthanc_takes_results_over_tls_from_whom_it_trusts(papers: Papers, tmp_path: Path) -> None:
    need("Orthanc")
    apart = [need("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not make a network of its own; run the tests as root")
    told = {"DicomTlsEnabled": True, "DicomTlsRemoteCertificateRequired": True}
    told |= {"DicomTlsCertificate": str(papers.scanner.certificate), "DicomTlsPrivateKey": str(papers.scanner.key)}
    (tmp_path / "archive.json").write_text(
        json.dumps({**told, "DicomTlsTrustedCertificates": str(papers.hospital.file)})
    )
    trusted = {"trusted": str(papers.hospital.file)}
    node, stranger = (
        {"certificate": str(one.certificate), "key": str(one.key)} for one in (papers.node, papers.stranger)
    )
    there = {"stranger": {**trusted, "tls": stranger}, "ours": {**trusted, "tls": node}}
    (tmp_path / "destinations.json").write_text(json.dumps(there))
    (tmp_path / "object.dcm").write_bytes(result_object("structured-report"))
    ran = subprocess.run([*apart, sys.executable, ELSEWHERE, tmp_path], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["ours"] == ["delivered", ""] and found["held"] == 1
    assert found["stranger"][0] == "failed" and "UNKNOWN_CA" in found["stranger"][1]


def test_stow_and_fhir_go_to_a_trusted_server_alone(papers: Papers, tmp_path: Path) -> None:
    with web(papers, papers.node) as url:
        assert stow(url, trusted=papers.hospital.file).send(parcels(tmp_path)) == DELIVERED and len(Web.got) == 1
        FhirClient(RecordSettings(fhir_url=url, trusted=papers.hospital.file)).metadata()
        for trusted, why in ((papers.other.file, "issuer"), (None, "issuer")):
            sent = stow(url, trusted=trusted).send(parcels(tmp_path))
            assert sent.state == "failed" and sent.retry and why in sent.reason and len(Web.got) == 1
            with pytest.raises(SearchError, match=why):
                FhirClient(RecordSettings(fhir_url=url, trusted=trusted)).metadata()
    with web(papers, papers.elsewhere) as url:
        sent = stow(url, trusted=papers.hospital.file).send(parcels(tmp_path))
        assert sent.state == "failed" and "mismatch" in sent.reason and Web.got == []
        with pytest.raises(SearchError, match="mismatch"):
            FhirClient(RecordSettings(fhir_url=url, trusted=papers.hospital.file)).metadata()


# The service's own HTTP


def test_http_is_served_by_tls_and_with_the_token_alone(papers: Papers, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from mmcaf_engine.service.web.app import http_server
    from mmcaf_engine.service.web.context import Context

    (tmp_path / "token").write_text("s3cret")
    listens = {"port": free_port(), "tls": papers.tls(papers.node, mutual=False), "token_file": tmp_path / "token"}
    fields = {"spool": tmp_path, "bundle": [{"name": "lung", "path": "x"}], "http": listens}
    with Receipt(tmp_path, PLENTY) as taking, closing(open_database(tmp_path)):
        server = http_server(Context.of(Config.model_validate(fields), taking))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            ended = time.monotonic() + 20
            while not server.started and time.monotonic() < ended:
                time.sleep(0.01)
            url = f"https://127.0.0.1:{listens['port']}/api/v1/studies"
            asked = {
                shown: ask(url, client(papers, None), shown)
                for shown in ("Bearer s3cret", "Bearer s3cre", "Bearer s3cret2", "s3cret", "Bearer \xe9", None)
            }
            assert asked == {"Bearer s3cret": 200, **dict.fromkeys(list(asked)[1:], 401)}
            assert ask(url.replace("https", "http"), None, "Bearer s3cret") == 0
            for wrong in (old(client(papers, None)), weak(client(papers, None)), ssl.create_default_context()):
                assert ask(url, wrong, "Bearer s3cret") == 0
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def ask(url: str, context: ssl.SSLContext | None, authorization: str | None) -> int:
    """The status; 0 where there is no answer."""
    headers = {} if authorization is None else {"Authorization": authorization}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=5) as answer:
            assert json.load(answer) == []
            return int(answer.status)
    except urllib.error.HTTPError as failure:
        with failure:
            return failure.code
    except OSError:
        return 0
    except Exception as failure:
        assert "BadStatusLine" in type(failure).__name__
        return 0
