"""Studies from three senders through the whole service into Orthanc: how many an hour, and how late each report is.

    python benchmarks/service_throughput.py --output benchmarks/results/service_throughput.csv
    python benchmarks/service_throughput.py --every 0 --output ...          # as fast as three senders can

The demonstration's bundle answers; structured report and secondary capture are delivered by C-STORE; images are removed
as soon as they may be. A study begins every so many seconds, each of the three storescu sends one at a time.
`studies_per_hour` counts from the first slice's sending to the last report in Orthanc, the quiet time too; `late_` is
from the moment at which a study's last slice was kept to its report in Orthanc, less the quiet time. Every study must
have one object of each kind there. Needs orthanc and dcmtk; runs itself again in a network of its own.
"""

import statistics
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import usage
from rows import environment, write_rows
from service_lab import (
    PORT,
    TITLE,
    Service,
    Slices,
    in_archive,
    in_its_own_network,
    orthanc,
    store,
    versions,
    wait_until,
)

SENDERS = 3
REPORT, PICTURE = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"
LOOK_S = 0.05


def main() -> None:
    """Measure large and small studies and write a row for each."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--slices", type=usage.count, nargs="+", default=[300, 26])
    asked.add_argument("--studies", type=usage.count, nargs="+", default=[40, 80])
    asked.add_argument("--every", type=float, nargs="+", default=[8.0, 1.5], metavar="SECONDS")
    asked.add_argument("--quiet", type=usage.seconds, default=10.0)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    if not len(arguments.slices) == len(arguments.studies) == len(arguments.every):
        asked.error("--slices, --studies and --every belong together: as many of each")
    in_its_own_network()
    facts = environment(["pynetdicom", "highdicom", "openvino"])
    facts["versions"] += "".join(f" {name}={version}" for name, version in versions().items())
    rows = []
    for slices, studies, every in zip(arguments.slices, arguments.studies, arguments.every, strict=True):
        with tempfile.TemporaryDirectory(prefix="throughput-") as name:
            rows.append({**measured(Path(name), slices, studies, every, arguments.quiet), **facts})
        print(rows[-1], flush=True)
    write_rows(arguments.output, rows)


class Arrivals:
    """Notes when each report came into the archive. seen: of each study its objects by class; at: its report's time."""

    def __init__(self) -> None:
        self.seen: dict[str, Counter[str]] = {}
        self.at: dict[str, float] = {}
        self._last = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> "Arrivals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(LOOK_S):
            found = in_archive(f"/changes?since={self._last}&limit=1000")
            now = time.time()
            self._last = found["Last"]
            for change in found["Changes"]:
                if change["ChangeType"] == "NewInstance":
                    self._note(in_archive(f"/instances/{change['ID']}/simplified-tags"), now)

    def _note(self, tags: dict[str, Any], now: float) -> None:
        study, kind = tags["StudyInstanceUID"], tags["SOPClassUID"]
        self.seen.setdefault(study, Counter())[kind] += 1
        if kind == REPORT:
            self.at[study] = now


def measured(scratch: Path, number_of_slices: int, studies: int, every: float, quiet_s: float) -> dict[str, str]:
    """One row."""
    slices = Slices(scratch / "template", number_of_slices)
    settings = (
        f"completeness = {{quiet_s = {quiet_s}}}\nretention = {{images_h = 0}}\n"
        "disk = {reserve_mib = 1024, hard_mib = 512}"
    )
    with orthanc(), Service(scratch / "service", settings) as service, Arrivals() as arrivals:
        service.give_record(slices)
        warm_up(service, slices, scratch / "warm")
        began, began_at = time.monotonic(), time.time()

        def send(number: int) -> str:
            time.sleep(max(0.0, began + number * every - time.monotonic()))
            study = slices.write(scratch / f"sender-{number % SENDERS}", number + 1)
            store(f"CT{number % SENDERS}", TITLE, PORT, study.files)
            return study.uid

        pools = [ThreadPoolExecutor(1) for _ in range(SENDERS)]
        uids = [one.result() for one in [pools[at % SENDERS].submit(send, at) for at in range(studies)]]
        sent_s = time.monotonic() - began
        limit = 60 + quiet_s + studies * 20
        wait_until(lambda: all(uid in arrivals.at for uid in uids), limit, "not every report is in the archive")
        wait_until(lambda: all(len(arrivals.seen[uid]) == 2 for uid in uids), limit, "not every picture is there")
        wrong = [uid for uid in uids if arrivals.seen[uid] != Counter({REPORT: 1, PICTURE: 1})]
        if wrong:
            raise SystemExit(f"{len(wrong)} studies have other objects than one of each kind")
        whole_s = max(arrivals.at[uid] for uid in uids) - began_at
        last = {row["uid"]: row["last"] for row in service.rows("select uid, last from study")}
        late = [arrivals.at[uid] - last[uid] - quiet_s for uid in uids]
        stages = stage_medians(service)
        pruned = service.count("select count(*) from study where pruned is not null")
    return {
        "slices": str(number_of_slices),
        "studies": str(studies),
        "every_s": f"{every:g}",
        "quiet_s": f"{quiet_s:g}",
        "studies_per_hour": f"{studies / whole_s * 3600:.0f}",
        "sending_s": f"{sent_s:.1f}",
        "whole_s": f"{whole_s:.1f}",
        "late_p50_s": f"{np.percentile(late, 50):.2f}",
        "late_p95_s": f"{np.percentile(late, 95):.2f}",
        "late_most_s": f"{max(late):.2f}",
        **stages,
        "studies_removed": str(pruned),
    }


def warm_up(service: Service, slices: Slices, folder: Path) -> None:
    """One study all the way, so that nothing is opened or compiled under the clock."""
    study = slices.write(folder, 0)
    store("CT9", TITLE, PORT, study.files)
    state = "select state from answer where study = ?"
    wait_until(lambda: [row[0] for row in service.rows(state, study.uid)] == ["delivered"], 120, "no first answer")


def stage_medians(service: Service) -> dict[str, str]:
    """Medians of the seconds from one state to the next, over all answers."""
    found: dict[str, list[float]] = {}
    before: dict[str, tuple[str, float]] = {}
    for row in service.rows("select study, state, at from event order by id"):
        if row["study"] in before:
            state, at = before[row["study"]]
            found.setdefault(f"{state}_to_{row['state']}_s", []).append(row["at"] - at)
        before[row["study"]] = (row["state"], row["at"])
    wanted = ("complete_to_queued", "queued_to_running", "running_to_written", "sending_to_delivered")
    return {f"{name}_s": f"{statistics.median(found[f'{name}_s']):.2f}" for name in wanted if f"{name}_s" in found}


if __name__ == "__main__":
    usage.run(main)
