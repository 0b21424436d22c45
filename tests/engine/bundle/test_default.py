"""Which bundle answers when none is named."""

from pathlib import Path

import pytest

from mmcaf_engine.bundle.default import default_bundle, demo_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.settings import config_file
from refusals import Fact, refused


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    file = config_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    return file


def test_environment_comes_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('bundle = "/configured.mmcaf"')
    monkeypatch.setenv("MMCAF_BUNDLE", "/chosen.mmcaf")
    found = default_bundle()
    assert (found.path, found.source, found.notice) == (Path("/chosen.mmcaf"), "$MMCAF_BUNDLE", None)


def test_then_the_configuration(config: Path) -> None:
    config.write_text('bundle = "/configured.mmcaf"')
    found = default_bundle()
    assert (found.path, found.source, found.notice) == (Path("/configured.mmcaf"), str(config), None)


def test_then_the_demonstration_with_a_notice(config: Path) -> None:
    default = default_bundle()
    assert default.path == demo_bundle() and default.notice is not None and "$MMCAF_BUNDLE" in default.notice


@pytest.mark.parametrize(
    ("text", "facts"), [("bundle = ", ("TOML",)), ("bundle = 3", ("bundle", 3)), ("\x00", ("TOML", "line 1"))]
)
def test_unusable_configuration(config: Path, text: str, facts: tuple[Fact, ...]) -> None:
    config.write_text(text)
    with refused(UsageError, "config.toml", *facts):
        default_bundle()
