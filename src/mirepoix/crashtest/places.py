"""Find the lines of the user's code that a report names."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

_LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), "<"})
_OWN = str(Path(__file__).parent.parent)
_BEGINS = (str(Path(__file__).with_name("deliver.py")), "deliver")
"""The function that calls the task. Outer frames belong to the test."""

_RUNNERS = frozenset({"celery", "kombu", "mirepoix"})


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line}" if self.path else "?"

    @property
    def text(self) -> str:
        """The source text of the line."""
        return linecache.getline(self.path, self.line).strip() if self.path else ""


def home_of(task: Any) -> str:
    """Return the folder or file of *task*'s code if it is installed among the libraries, otherwise an empty string."""
    name = task.__module__
    top = name.partition(".")[0]
    module = sys.modules.get(top if getattr(sys.modules.get(top), "__file__", None) else name)
    path = str(getattr(module, "__file__", None) or "")
    if top in _RUNNERS:
        return ""
    return path.removesuffix("__init__.py")


def is_of_user(path: str, home: str) -> bool:
    """Whether the file belongs to the task (*home*), or to neither a library nor Mirepoix."""
    is_at_home = bool(home) and path.startswith(home)
    return is_at_home or (not path.startswith(_LIBRARIES) and not path.startswith(_OWN))


def user_line(home: str) -> Source:
    """Return the innermost line of user code in the delivery. A library's thread has none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if (path, frame.f_code.co_name) == _BEGINS:
            break
        if is_of_user(path, home):
            return Source(path, frame.f_lineno)
        frame = frame.f_back
    return Source("", 0)


def comes_through(*parts: str) -> bool:
    """Whether any caller is in a file with one of *parts* in its path."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in parts):
            return True
        frame = frame.f_back
    return False
