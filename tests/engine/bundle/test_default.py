"""Which bundle answers when none is named."""

from pathlib import Path

import pytest

from mmcaf_engine.bundle.default import config_file, default_bundle, demo_bundle
from mmcaf_engine.errors import UsageError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    file = config_file()
    file.parent.mkdir(parents=True)
    return file


def test_environment_comes_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('bundle = "/configured.mmcaf"')
    monkeypatch.setenv("MMCAF_BUNDLE", "/chosen.mmcaf")
    assert default_bundle().path == Path("/chosen.mmcaf") and default_bundle().notice is None


def test_then_the_configuration(config: Path) -> None:
    config.write_text('bundle = "/configured.mmcaf"')
    assert default_bundle().path == Path("/configured.mmcaf") and default_bundle().notice is None


def test_then_the_demonstration_with_a_notice(config: Path) -> None:
    default = default_bundle()
    assert default.path == demo_bundle() and default.notice is not None and "$MMCAF_BUNDLE" in default.notice


@pytest.mark.parametrize("text", ["bundle = ", "bundle = 3", "\x00"])
def test_unusable_configuration(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        default_bundle()
