"""Write THIRD_PARTY.md: whose work an installation runs, and under which licences.

python docs/supply_chain/third_party.py -o THIRD_PARTY.md
"""

import argparse
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from packages import PROJECT, Package, installed

EXTRAS = ("text", "export", "tensorrt", "kernels", "pycuda", "sign", "dicom", "serve", "plot")
HEAD = """# Third-party software

Written by `make third-party` from what the installed wheels say of themselves; versions are those at hand then.
mmcaf-infer holds no code, header or weights of others: pip installs these packages beside it. Most wheels hold the
licences of the libraries that were compiled into them, too; the last column counts those files, and

    python -c "from importlib.metadata import files; print(*files('imagecodecs'), sep='\\n')"

lists them. `openvino` requires `openvino-telemetry`, which the engine never imports: no answer opens a connection, and
`tests/attacks/test_network.py` holds that. Of imagecodecs' decoders OpenJPEG, CharLS and libjpeg-turbo are called
(`engine/mmcaf_engine/study/dicom/decoders.py`). The wheel holds others, which nothing here calls, among them one for
JPEG lossless (jpegsof3) whose licence says that it is no clinical tool.

Two libraries of this project are built against OpenVINO's C++ headers: the processor's kernels as operators
(`mmcaf_kernels/cpu`), and libmmcaf (`mmcaf_engine/capi`). Inline functions and templates of those headers (Apache-2.0)
are compiled into both; OpenVINO itself is linked to, from its package. libmmcaf also links to the OpenSSL 3 (libcrypto,
Apache-2.0) and the zlib (Zlib) of the system, of which the wheel holds nothing.
"""


def page() -> str:
    """The whole page."""
    base = installed()
    parts = [HEAD, "## Base: what answers\n", *_table(base)]
    for extra in EXTRAS:
        parts.append(f"\n## Extra `{extra}`\n")
        try:
            more = {name: package for name, package in installed((extra,)).items() if name not in base}
        except PackageNotFoundError as failure:
            parts.append(f"Not listed: {failure.name} was not installed where this page was written.")
            continue
        parts += _table(more) if more else ["No further package."]
    return "\n".join(parts) + "\n"


def _table(packages: dict[str, Package]) -> list[str]:
    rows = ["| package | version | licence | home | licence files |", "|---|---|---|---|---|"]
    for package in packages.values():
        if package.name != PROJECT:
            rows.append(
                f"| {package.name} | {package.version} | {package.licence} | {package.home} | {package.notices} |"
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.parse_args().output.write_text(page(), encoding="utf-8")
