"""OpenVINO imported in parts: what an engine needs at once, each operator set when it is first used."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("openvino")

IMPORT = """
import json, sys
from mmcaf_engine.backends.openvino.importing import import_openvino
openvino = import_openvino()
loaded = lambda: sorted(name for name in sys.modules if name.startswith("openvino.opset") and name.endswith(".ops"))
first, packages = loaded(), [name for name in vars(openvino) if name.startswith("opset")]
assert import_openvino() is openvino and "openvino.tools.ovc" not in sys.modules
"""


def told(then: str) -> dict[str, object]:
    """What a process of its own prints, which imports OpenVINO so."""
    done = subprocess.run([sys.executable, "-c", IMPORT + then], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_no_operator_set_is_loaded_before_it_is_used() -> None:
    found = told("print(json.dumps({'first': first, 'packages': packages}))")
    assert found["first"] == [] and "opset13" in found["packages"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "use",
    [
        "openvino.opset13.constant([1.0])",
        "from openvino.opset8 import convolution",
        "from openvino import opset1; opset1.parameter([1])",
        "from openvino.opset13 import *; parameter([1])",
        "import openvino.opset17; assert 'relu' in dir(openvino.opset5)",
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "with Pool(4) as pool: list(pool.map(lambda _: openvino.opset13.constant, range(16)))",
    ],
)
def test_one_is_loaded_whole_when_something_of_it_is_asked_for(use: str) -> None:
    told(f"{use}\nprint(json.dumps({{}}))")


def test_what_it_lacks_is_missing_as_ever() -> None:
    found = told("print(json.dumps({'has': hasattr(openvino.opset3, 'nothing'), 'kind': str(type(openvino.opset3))}))")
    assert found == {"has": False, "kind": "<class 'module'>"}
