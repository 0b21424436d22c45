"""Bundles in every precision, as engines are built from them; read them, do not change them."""

from pathlib import Path

import pytest

from shared import Shared


@pytest.fixture(scope="session")
def demo(shared: Shared) -> Path:
    """The demonstration."""

    def make(folder: Path) -> Path:
        from all_precisions import add_all_precisions
        from mmcaf_engine.bundle.default import demo_bundle

        return add_all_precisions(demo_bundle(), folder / "demo.mmcaf")

    return shared("demo-in-every-precision", make)


@pytest.fixture(scope="session")
def small_source(shared: Shared) -> Path:
    """Two convolutions and two matrix products, the first convolution in INT8."""

    def make(folder: Path) -> Path:
        from all_precisions import add_all_precisions
        from small_networks import make_convolution_bundle

        return add_all_precisions(
            make_convolution_bundle(folder / "plain.mmcaf"), folder / "small.mmcaf", int8_share=0.5
        )

    return shared("small-in-every-precision", make)
