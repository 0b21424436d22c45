"""serve.toml: what can be, what cannot, and what is said of it."""

from pathlib import Path

import pytest

from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service.config import Config, read_config
from mmcaf_engine.service.places import is_loopback

LEAST = """
spool = "spool"
[[bundle]]
name = "lung"
path = "lung.mmcaf"
"""
WHOLE = (
    LEAST
    + """
[[bundle]]
name = "next"
path = "/srv/next.mmcaf"
shadow_of = "lung"
[[route]]
bundle = "lung"
match = {Modality = "CT", StudyDescription = "*chest*"}
options = {gaps = "interpolate"}
destinations = ["pacs"]
[[destination]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "pacs.example"
port = 104
commitment = true
[[destination]]
name = "archive"
kind = "dicomweb"
url = "https://archive.example/dicom-web"
[dicom]
host = "0.0.0.0"
port = 104
peers = [{ae_title = "CT1", host = "10.0.0.5", quiet_s = 20, priority = "stat"}]
[completeness]
count_from = "pacs"
[http]
host = "0.0.0.0"
tls = {certificate = "cert.pem", key = "key.pem"}
token_file = "token"
"""
)


def read(folder: Path, text: str) -> Config:
    file = folder / "serve.toml"
    file.write_text(text, encoding="utf-8")
    return read_config(file)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ServiceError) as caught:
        read(folder, text)
    assert str(folder / "serve.toml") in caught.value.problem and caught.value.remedies
    return caught.value.problem


def test_little_needs_to_be_said(tmp_path: Path) -> None:
    found = read(tmp_path, LEAST)
    assert found.spool == tmp_path / "spool" and found.bundle[0].path == tmp_path / "lung.mmcaf"
    assert found.dicom is not None and found.http is not None
    assert {found.dicom.host, found.http.host} == {"127.0.0.1"}
    [route] = found.routes
    assert route.bundle == "lung" and route.match == {}


def test_the_demonstration_must_be_named(tmp_path: Path) -> None:
    [bundle] = read(tmp_path, LEAST.replace("lung.mmcaf", "builtin:demo")).bundle
    assert (bundle.path / "manifest.json").is_file()
    assert "bundle.0.path" in refused(tmp_path, LEAST.replace('path = "lung.mmcaf"', ""))


def test_all_that_can_be_said(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found.bundle[1].path == Path("/srv/next.mmcaf") and len(found.routes) == 1
    assert found.http is not None and found.http.tls is not None
    assert found.http.tls.key == tmp_path / "key.pem" and found.http.token_file == tmp_path / "token"
    assert found.dicom is not None and found.dicom.peers[0].priority == "stat"


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('name = "lung"', 'name = "Lung"', "bundle.0.name"),
        ('name = "lung"', 'name = "lung"\nprecison = "fp16"', "precison"),
        ('spool = "spool"', "", "spool"),
        ('spool = "spool"', 'spool = "spool"\n[bundles]', "bundles"),
        ('name = "next"', 'name = "lung"', "lung is there twice"),
        ('name = "archive"', 'name = "pacs"', "pacs is there twice"),
        ('shadow_of = "lung"', 'shadow_of = "other"', "the shadow of other"),
        ('shadow_of = "lung"', 'shadow_of = "next"', "the shadow of next"),
        ('[[route]]\nbundle = "lung"', '[[route]]\nbundle = "next"', "leads to next"),
        ('[[route]]\nbundle = "lung"', '[[route]]\nbundle = "x"', "leads to x"),
        ('destinations = ["pacs"]', 'destinations = ["disk"]', "disk, which is no destination"),
        ('gaps = "interpolate"', 'gaps = "fill"', "route.0.options.gaps"),
        ('gaps = "interpolate"', "allow_id_mismatch = true", "allow_id_mismatch"),
        ("Modality =", '"0008,0060" =', "match"),
        ('ae_title = "PACS"\n', "", "needs ae_title"),
        ('ae_title = "PACS"', 'ae_title = "A TITLE THAT IS TOO LONG"', "ae_title"),
        ('ae_title = "PACS"', 'ae_title = "    "', "ae_title"),
        ("port = 104\ncommitment", "port = 70000\ncommitment", "port"),
        ('kind = "dicomweb"', 'kind = "dicomweb"\nobjects = ["report"]', "objects"),
        ('kind = "dicomweb"', 'kind = "dicomweb"\nobjects = []', "objects"),
        ('url = "https://archive', 'url = "ftp://archive', "no http or https"),
        ('url = "https://archive.example/', 'token_file = "t"\nurl = "http://archive.example/', "over https alone"),
        ('kind = "dicomweb"', 'kind = "dicomweb"\ncommitment = true', "storage commitment"),
        ('peers = [{ae_title = "CT1", host = "10.0.0.5", quiet_s = 20, priority = "stat"}]', "", "who may send"),
        ('priority = "stat"', 'priority = "urgent"', "priority"),
        ('count_from = "pacs"', 'count_from = "other"', "count_from"),
        ('tls = {certificate = "cert.pem", key = "key.pem"}', "", "needs tls and token_file"),
        ('token_file = "token"', "", "needs tls and token_file"),
        ("[completeness]", "[disk]\nreserve_mib = 1\nhard_mib = 2\n[completeness]", "above reserve_mib"),
        ("[completeness]", "[completeness]\nquiet_s = -1", "quiet_s"),
        ("[completeness]", "[completeness", "no TOML"),
        ("[completeness]", '[records]\nfhir_url = "ehr.example/fhir"\n[completeness]', "no http or https"),
        ("[completeness]", '[records]\nfhir_url = "https://[x/fhir"\n[completeness]', "no http or https"),
        ("[completeness]", '[records]\nfhir_url = "https://a:b@ehr.example/fhir"\n[completeness]', "no password"),
        ("[completeness]", '[records]\nfhir_url = "https://ehr.example/fhir?a=b"\n[completeness]', "no ?"),
        (
            "[completeness]",
            '[records]\nfhir_url = "http://ehr.example/fhir"\ntoken_file = "t"\n[completeness]',
            "over https alone",
        ),
        ("[completeness]", '[records]\ntoken_file = "t"\n[completeness]', "fhir_url, which is missing"),
        ("quiet_s = 20", "quiet_s = true", "a number or a text is expected"),
        ("port = 104\ncommitment", "port = true\ncommitment", "a number or a text is expected"),
        ('spool = "spool"', 'folder = "spool"\nspool = "spool"', "each needs a folder of its own"),
        ('spool = "spool"', 'folder = "spool/images"\nspool = "spool"', "folder is spool, or lies in it"),
        ('spool = "spool"', 'folder = "."\nspool = "spool"', "spool is folder, or lies in it"),
        ("[completeness]", '[records]\nfolder = "spool/records"\n[completeness]', "records.folder is spool"),
        ('[http]\nhost = "0.0.0.0"', '[http]\nport = 104\nhost = "127.0.0.1"', "both listen at port 104"),
        ('host = "pacs.example"', 'host = "127.0.0.1"', "pacs is this service itself"),
        ("https://archive.example/", "https://localhost:8080/", "archive is this service itself"),
    ],
)
def test_what_cannot_be_is_named(before: str, after: str, named: str, tmp_path: Path) -> None:
    assert before in WHOLE
    assert named in refused(tmp_path, WHOLE.replace(before, after, 1))


def test_a_folder_that_leads_into_another_is_found(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "in").symlink_to("spool")
    assert "each needs a folder of its own" in refused(tmp_path, 'folder = "in"\n' + LEAST)


def test_one_port_of_two_addresses_is_two(tmp_path: Path) -> None:
    parts = '[dicom]\nport = 8080\n[http]\nhost = "127.0.0.2"\n'
    found = read(tmp_path, LEAST + parts)
    assert found.dicom is not None and found.http is not None and found.dicom.port == found.http.port


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for text in ("spool = 1\x00", "a = 1\na = 2", "#" * 2_000_000):
        refused(tmp_path, text)
    with pytest.raises(ServiceError, match="missing"):
        read_config(tmp_path / "missing.toml")


def test_what_is_not_listened_to(tmp_path: Path) -> None:
    found = read(
        tmp_path, LEAST.replace('spool = "spool"', 'spool = "spool"\nhttp = false\nfolder = "in"\ndicom = false')
    )
    assert found.http is None and found.dicom is None and found.folder == tmp_path / "in"
    deaf = LEAST.replace('spool = "spool"', 'spool = "spool"\nhttp = false\ndicom = false')
    assert "nothing is listened to" in refused(tmp_path, deaf)
    assert "http" in refused(tmp_path, LEAST.replace('spool = "spool"', 'spool = "spool"\nhttp = true'))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_what_this_machine_alone_reaches(host: str) -> None:
    assert is_loopback(host) and not is_loopback("0.0.0.0") and not is_loopback("localhost.example")
