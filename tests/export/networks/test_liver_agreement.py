"""The agreement of the liver example's two attention maps: the bound in its manifest is what studies give."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from example_exports import EXAMPLES, script
from mmcaf_engine import load_bundle
from mmcaf_export.report import ExportReport

STATED = json.loads(script("export.py").settings("liver")["attention_agreement"])
README = (EXAMPLES / "liver_model" / "README.md").read_text(encoding="utf-8")


def test_the_documents_have_the_manifest_figures() -> None:
    for text in (README, (EXAMPLES.parent / "docs" / "explanations.md").read_text(encoding="utf-8")):
        assert f"{STATED['bound']:.2f}" in text and f"{STATED['studies']}" in text
    [row] = re.findall(r"\| least .*\n.*\n(.*)", README)
    cuts = [float(cell) for cell in re.findall(r"[\d.]+", row)]
    assert len(cuts) == 6 and cuts == sorted(cuts) and abs(cuts[1] - STATED["bound"]) <= 0.01


@pytest.mark.full
def test_few_studies_lie_below_the_bound(example: Callable[[str], ExportReport]) -> None:
    """Of 24 at most four, where one in twenty should: more have a chance of 0.6 %."""
    bundle = example("liver").output
    agreement = load_bundle(bundle).manifest.attention_agreement
    assert agreement is not None and agreement.model_dump(mode="json") == STATED
    command = [sys.executable, EXAMPLES / "liver_model" / "agreement.py", bundle, "--studies", "24"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured = json.loads(shown.splitlines()[-1])
    assert measured["outputs"] == STATED["outputs"] and measured["studies"] == 24
    shares = [float(one) for one in re.findall(r"share ([\d.]+)", shown)]
    assert len(shares) == 24 and 0 < min(shares) < max(shares) < 1
    assert sum(share < agreement.bound for share in shares) <= 4
