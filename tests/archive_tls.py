"""Sends a result to Orthanc over DICOM's TLS with each of some certificates, in a network of its own.

    unshare --net python tests/archive_tls.py FOLDER                (or unshare --net --map-root-user, without root)

FOLDER holds `archive.json`, what Orthanc is told besides; `destinations.json`, name -> a destination of serve.toml; and
`object.dcm`. Prints name -> what became of it, and how many objects Orthanc has in the end.
"""

import hashlib
import json
import sys
from pathlib import Path

from pydicom import dcmread

from archive import DICOM_PORT, archive, fetch, isolated
from mmcaf_engine.service.config import Destination
from mmcaf_engine.service.delivery import Parcel
from mmcaf_engine.service.dimse.carrier import StoreCarrier


def main() -> None:
    """Print what became of each."""
    if not isolated():
        sys.exit("there are other networks than the loopback here; start it by unshare --net")
    folder = Path(sys.argv[1])
    file = folder / "object.dcm"
    header = dcmread(file, stop_before_pixels=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    parcel = Parcel("structured-report", str(header.SOPClassUID), str(header.SOPInstanceUID), file, digest)
    found: dict[str, object] = {}
    with archive(settings=json.loads((folder / "archive.json").read_text())):
        for name, fields in json.loads((folder / "destinations.json").read_text()).items():
            there = {"name": "pacs", "kind": "dicom", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": DICOM_PORT}
            carrier = StoreCarrier(Destination.model_validate({**there, **fields}), "MMCAF", timeout_s=5)
            sent = carrier.send([parcel])
            found[name] = [sent.state, sent.reason]
        found["held"] = len(json.loads(fetch("/instances")))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
