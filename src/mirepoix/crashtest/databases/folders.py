"""The state of folders: what their files hold."""

from __future__ import annotations

import shutil
from pathlib import Path


class Folders:
    """Folders that a task writes to."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = [Path(path) for path in paths]
        self._kept: dict[Path, bytes] = {}

    def save(self) -> None:
        """Keep what the files hold."""
        self._kept = self._files()

    def restore(self) -> None:
        """Put it back."""
        for folder in self._paths:
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for path, content in self._kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def read(self) -> dict[str, bytes]:
        """What each file holds, by its path within its folder."""
        return {
            str(path.relative_to(folder)): content
            for path, content in self._files().items()
            for folder in self._paths
            if path.is_relative_to(folder)
        }

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for folder in self._paths for path in folder.rglob("*") if path.is_file()}
