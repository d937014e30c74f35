"""The state of folders: what their files hold."""

from __future__ import annotations

from pathlib import Path


class Folders:
    """Folders that a task writes to. What it leaves alone is never written to by the tester either."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = [Path(path) for path in paths]
        self._kept: dict[Path, bytes] = {}
        self._folders: set[Path] = set()

    def save(self) -> None:
        """Keep what the files hold."""
        self._kept, self._folders = self._files(), self._subfolders()

    def restore(self) -> None:
        """Put it back: remove what is new, and write again what was changed or removed."""
        now = self._files()
        for path in now.keys() - self._kept.keys():
            path.unlink()
        for folder in sorted(self._subfolders() - self._folders, reverse=True):
            folder.rmdir()
        for folder in sorted(self._folders):
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in self._kept.items():
            if now.get(path) != content:
                path.write_bytes(content)

    def read(self) -> dict[str, bytes]:
        """What each file holds, by its path within its folder."""
        return {self._name(path): content for path, content in self._files().items()}

    def subfolders(self) -> frozenset[str]:
        """The folders in them, which may be empty: some are made to be a lock."""
        return frozenset(self._name(path) for path in self._subfolders())

    def is_new(self, name: str) -> bool:
        """Whether the file of that name was not there before."""
        return all(self._name(path) != name for path in self._kept)

    def _name(self, path: Path) -> str:
        return next(str(path.relative_to(folder)) for folder in self._paths if path.is_relative_to(folder))

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for folder in self._paths for path in folder.rglob("*") if path.is_file()}

    def _subfolders(self) -> set[Path]:
        return {path for folder in self._paths for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()}
