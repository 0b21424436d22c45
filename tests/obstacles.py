"""What may stand where something is to be written, and what lies in a folder."""

import os
import socket
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="links, FIFOs and rights of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    (path.parent.parent / "elsewhere").write_text("precious")
    path.symlink_to(path.parent.parent / "elsewhere")


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def link_to_folder(path: Path) -> None:
    (path.parent.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent.parent / "elsewhere")


def unix_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # A socket's path may have 100 bytes only.
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def folder(path: Path) -> None:
    path.mkdir()


def fill(made: Path, text: str) -> None:
    (made / "sub").mkdir()
    (made / "sub" / "file").write_text(text)
