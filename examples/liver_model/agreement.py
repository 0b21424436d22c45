"""How far both attention maps of the liver example agree on held-out synthetic studies, for its manifest.

python examples/liver_model/agreement.py liver.mmcaf

prints the share that both maps have in common (`mmcaf_engine.manifest.AgreementSpec`) over the studies, and the
manifest's `attention_agreement`, whose bound is a percentile of them.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.demo import liver_study
from mmcaf_engine.result.attended import common_share

FIRST = 60_000
"""Seed of the first study; nothing was trained on it or on those after it."""
PERCENTILE = 5


def main() -> None:
    """Measure, and print what the manifest is to say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--studies", type=int, default=200)
    options = parser.parse_args()
    from mmcaf_export.networks.lcadb.network import OUTPUTS, PHASES
    from studies import as_input

    shares, right = [], []
    with open_session(load_bundle(options.bundle), backend="onnxruntime", precision="fp32") as session:
        for seed in range(FIRST, FIRST + options.studies):
            study = liver_study(seed)
            volumes = as_input(study)[:, None, None]  # [8, 1, 1, X, Y, Z]
            found = session.run(dict(zip(PHASES, volumes, strict=True)), optional=True)
            logits, image, patch = (found[name][0] for name in OUTPUTS)
            shares.append(common_share(image.astype(np.float64), patch.astype(np.float64)))
            right.append(int(logits.argmax()) == study.label)
            print(f"seed {seed}: share {shares[-1]:.3f}")
    values, correct = np.array(shares), np.array(right)
    cuts = ", ".join(f"{part} %: {np.percentile(values, part):.3f}" for part in (0, PERCENTILE, 25, 50, 75, 100))
    print(f"{len(values)} studies, seeds from {FIRST}: {cuts}")
    bound = round(float(np.percentile(values, PERCENTILE)), 2)
    for told, of in (("below the bound", values < bound), ("the others", values >= bound)):
        print(f"{told}: {int(of.sum())} studies, {int(correct[of].sum())} answered right")
    spec = {
        "outputs": list(OUTPUTS[1:]),
        "bound": bound,
        "percentile": PERCENTILE,
        "studies": len(values),
        "data": f"synthetic liver studies, seeds {FIRST} to {FIRST + len(values) - 1}",
    }
    print(json.dumps(spec))


if __name__ == "__main__":
    main()
