"""The state of folders: the content of their files."""

from __future__ import annotations

from pathlib import Path


class Folders:
    """Folders that a task writes to. The tester never writes to a file that the task does not touch."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = [Path(path) for path in paths]
        self._kept: dict[Path, bytes] = {}
        self._folders: set[Path] = set()

    def save(self) -> None:
        """Save the content of the files."""
        self._kept, self._folders = self._files(), self._subfolders()

    def restore(self) -> None:
        """Restore the files: remove new ones, and rewrite those that were changed or removed."""
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
        """Return the content of each file, by its path within its folder."""
        return {self._name(path): content for path, content in self._files().items()}

    def subfolders(self) -> frozenset[str]:
        """Return the subfolders, including empty ones, which some tasks use as locks."""
        return frozenset(self._name(path) for path in self._subfolders())

    def is_new(self, name: str) -> bool:
        """Whether the file *name* did not exist before."""
        return all(self._name(path) != name for path in self._kept)

    def _name(self, path: Path) -> str:
        return next(str(path.relative_to(folder)) for folder in self._paths if path.is_relative_to(folder))

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for folder in self._paths for path in folder.rglob("*") if path.is_file()}

    def _subfolders(self) -> set[Path]:
        return {path for folder in self._paths for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()}
