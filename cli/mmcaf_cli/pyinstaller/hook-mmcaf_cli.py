"""The commands, which are imported when they are called."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("mmcaf_cli", filter=lambda name: not name.startswith("mmcaf_cli.pyinstaller"))
