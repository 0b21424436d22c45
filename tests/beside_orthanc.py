"""examples/orthanc, as it is, in a network of its own: from a study that Orthanc is sent to the report in Orthanc.

    unshare --net python tests/beside_orthanc.py FOLDER MMCAF     (or unshare --net --map-root-user, without root)

FOLDER is a copy of the example, with the demonstration's study in demo/; MMCAF is the command. Prints as JSON what
Orthanc holds in the end and what the service says of it. All processes end with this one.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archive import end_with_parent, isolated
from counterparts import find

ORTHANC, SERVICE = "http://127.0.0.1:8043", "http://127.0.0.1:8080"
SECONDS = 120


def fetch(url: str, document: Any = None) -> Any:
    """What a server answers; None where it does not."""
    data = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def until(found: Callable[[], Any]) -> Any:
    ended = time.monotonic() + SECONDS
    while time.monotonic() < ended:
        if result := found():
            return result
        time.sleep(0.1)
    sys.exit("it did not come in time")


def held() -> list[dict[str, str]]:
    """Modality and description of every series in Orthanc, with how many instances it has."""
    every = fetch(f"{ORTHANC}/tools/find", {"Level": "Series", "Query": {}, "Expand": True}) or []
    return [{**one["MainDicomTags"], "instances": str(len(one["Instances"]))} for one in every]


def main(folder: Path, mmcaf: str) -> None:
    """Start both, send the study to Orthanc, wait for the report there."""
    if not isolated():
        sys.exit("there are other networks than the loopback here; start it by unshare --net")
    programs = {name: find(name) for name in ("Orthanc", "storescu")}
    if missing := [name for name, found in programs.items() if found is None]:
        sys.exit(f"{', '.join(missing)} is not installed")
    (folder / "records").mkdir()
    shutil.copy(folder / "demo" / "record.json", folder / "records")
    with (folder / "log").open("wb") as log:
        for command in (
            [str(programs["Orthanc"]), "orthanc.json"],
            [mmcaf, "serve", "--config", "serve.toml"],
        ):
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, preexec_fn=end_with_parent)
    until(lambda: fetch(f"{ORTHANC}/system") and fetch(f"{SERVICE}/health/ready"))
    images = sorted(map(str, (folder / "demo" / "series").iterdir()))
    subprocess.run([str(programs["storescu"]), "-aec", "ORTHANC", "127.0.0.1", "4243", *images], check=True)

    def committed() -> Any:
        studies = fetch(f"{SERVICE}/api/v1/studies") or []
        return [one for one in studies if [answer["state"] for answer in one["answers"]] == ["committed"]]

    [study] = until(committed)
    time.sleep(7)  # What came back has become stable, too: were it routed, it would come in circles.
    sys.stdout.write(json.dumps({"held": held(), "study": study, "jobs": fetch(f"{ORTHANC}/jobs?expand")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
