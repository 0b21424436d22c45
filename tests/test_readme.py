"""The README's promises: links resolve, options exist, the Python example runs, it stays short."""

import re
from pathlib import Path

import pytest

from command import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]
PAGES += sorted((ROOT / "examples").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert not target.startswith("http"), f"{page}: {target} cannot be checked offline"
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_length() -> None:
    assert len(README.splitlines()) < 200


def test_not_a_medical_device_is_said() -> None:
    assert "Not a medical device" in README


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", README, re.MULTILINE))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def documented_commands() -> list[tuple[str, str]]:
    """(command, its sub-command) of every indented line that calls one of ours."""
    return re.findall(r"^    (?:\.venv/bin/)?(mmcaf-infer|mmcaf) (\S+)", README, re.MULTILINE)


@pytest.mark.parametrize(("command", "first"), sorted(set(documented_commands())))
def test_documented_commands_exist(run: Command, command: str, first: str) -> None:
    arguments = ["--help"] if command == "mmcaf-infer" else [first, "--help"]
    assert run(command, *arguments).code == 0


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", README))))
def test_documented_options_exist(run: Command, option: str) -> None:
    helps = [run("mmcaf-infer", "--help").out] + [run("mmcaf", name, "--help").out for name in ("export", "demo")]
    assert any(option in text for text in helps)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/result.md"])
def test_python_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Command) -> None:
    from mmcaf_engine.bundle.default import demo_bundle

    assert run("mmcaf", "demo", "--save", tmp_path / "demo").code == 0
    (tmp_path / "lung.mmcaf").symlink_to(demo_bundle())
    monkeypatch.chdir(tmp_path)
    for example in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, page, "exec"), {})
