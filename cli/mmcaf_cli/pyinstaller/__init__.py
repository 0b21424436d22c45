"""Hooks by which PyInstaller finds what this project imports by name and reads from its folders."""

from pathlib import Path


def hook_directories() -> list[str]:
    """Where the hooks lie: PyInstaller asks for it by the entry point `pyinstaller40: hook-dirs`."""
    return [str(Path(__file__).parent)]
