"""300 slices of 512x512 from dcmtk's storescu until the last is durable: our receiver and Orthanc, by turns.

    python benchmarks/service_receipt.py --output benchmarks/results/service_receipt.csv

Orthanc is as packaged, which syncs every file, and the same with TCP_NODELAY=1 for it and its sender; ours is the whole
`mmcaf serve`, which is sent to by both senders. Every study has UIDs of its own; what was taken is counted afterwards.
`times_packaged` and `times_tuned` are medians over the alternations of ours by the Orthanc of the same sender. Needs
orthanc and dcmtk; runs itself again in a network of its own.
"""

import os
import statistics
import tempfile
from pathlib import Path

import usage
from rows import environment, write_rows
from service_lab import PORT, TITLE, Service, Slices, in_archive, in_its_own_network, orthanc, store, versions

CASES = ("ours", "orthanc", "ours, tuned sender", "orthanc, tuned")
SETTINGS = "completeness = {quiet_s = 86400}\ndisk = {reserve_mib = 1024, hard_mib = 512}"


def main() -> None:
    """Measure by turns and write a row for each case."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--slices", type=usage.count, default=300)
    asked.add_argument("--alternations", type=usage.count, default=7)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    in_its_own_network()
    found: dict[str, list[float]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(prefix="receipt-") as name:
        scratch = Path(name)
        slices = Slices(scratch / "template", arguments.slices)
        with Service(scratch / "service", SETTINGS, archive=None) as service:
            number = 0
            for turn in range(arguments.alternations + 1):
                for case in CASES[turn % 4 :] + CASES[: turn % 4]:
                    number += 1
                    seconds = measure(case, service, slices, scratch / "study", number)
                    if turn:  # The first of each warms up.
                        found[case].append(seconds)
                print({case: f"{times[-1]:.2f}" for case, times in found.items() if times}, flush=True)
    facts = {**environment(["pynetdicom", "pydicom"])}
    facts["versions"] += "".join(f" {name}={version}" for name, version in versions().items())
    rows = [row(case, found, arguments.slices) for case in CASES]
    for one in rows:
        print(one)
    write_rows(arguments.output, [{**one, **facts} for one in rows])


def measure(case: str, service: Service, slices: Slices, folder: Path, number: int) -> float:
    """Seconds until all slices of a new study were acknowledged; that they are there is looked up."""
    study = slices.write(folder, number)
    tuned = "tuned" in case
    if case.startswith("ours"):
        os.sync()
        seconds = store("CT1", TITLE, PORT, study.files, tuned=tuned)
        taken = service.count("select count(*) from instance where study = ?", study.uid)
    else:
        with orthanc(tuned=tuned):
            os.sync()
            seconds = store("CT1", "ORTHANC", 4242, study.files, tuned=tuned)
            taken = in_archive("/statistics")["CountInstances"]
    if taken != len(study.files):
        raise SystemExit(f"{case}: {taken} of {len(study.files)} slices are there; no figure is worth printing")
    return seconds


def row(case: str, found: dict[str, list[float]], slices: int) -> dict[str, str]:
    """One case's figures."""
    times = found[case]

    def by(other: str) -> str:
        return f"{statistics.median(a / b for a, b in zip(times, found[other], strict=True)):.2f}"

    return {
        "case": case,
        "slices": str(slices),
        "alternations": str(len(times)),
        "median_s": f"{statistics.median(times):.2f}",
        "least_s": f"{min(times):.2f}",
        "most_s": f"{max(times):.2f}",
        "times_packaged": by("orthanc") if case == "ours" else "",
        "times_tuned": by("orthanc, tuned") if case == "ours, tuned sender" else "",
    }


if __name__ == "__main__":
    usage.run(main)
