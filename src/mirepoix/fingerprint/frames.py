"""Distinguish the user's code from libraries in the frames of a written traceback."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Frame(NamedTuple):
    """A function in a traceback: its file and its name. Lines are left out, because they shift."""

    file: str
    function: str


_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/(?:lib|lib64)/(?:python)?[\d.]+/|/python\d+\.zip/|^<", re.IGNORECASE)
_PLUMBING = re.compile(
    r"/(?:celery/(?:app|worker|utils|concurrency|backends)|billiard|kombu|vine"
    r"|mirepoix/(?:celery|kombu|broker|connect|ledger|daemons|django))/(?:\w+/)*\w+\.py$"
)
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
"""Whether these have their own frames depends on the version of Python."""


def places(frames: Iterable[Frame], roots: Sequence[str] = (), *, is_recursion: bool = False) -> list[str]:
    """List the user's functions that these frames passed, outermost first, each once: ``shop.orders.price``.

    Frames of libraries count only if there are no others, and frames of Celery and Mirepoix only if nothing else is
    left. *roots* are the folders that modules are imported from, and nothing above them is part of a module's name. Of
    an endless recursion only functions that occur more than once are listed, because the place where it ends is random.
    """
    seen = Counter(frame for frame in frames if frame.function not in _COMPREHENSIONS)
    chosen = _own(list(seen))  # each once, in the order of the frames
    if is_recursion:
        chosen = [frame for frame in chosen if seen[frame] > 1] or chosen
    return list(dict.fromkeys(f"{module(frame.file, roots)}.{frame.function}" for frame in chosen))


def module(file: str, roots: Sequence[str] = ()) -> str:
    """Return the name of the module in *file*, with the name of the folder around it if that can be a package.

    Deeper folders differ from host to host and from deploy to deploy.
    """
    path = file.replace("\\", "/")
    for root in sorted(roots, key=len, reverse=True):
        folder = root.replace("\\", "/").rstrip("/") + "/"
        if len(folder) > 1 and path.startswith(folder):
            path = path[len(folder) :]
            break
    *folders, name = path.split("/")
    words = [name.removesuffix(".py")]
    # A package's name excludes releases/20261125T0945, v12 and my-app: one cannot import them.
    if folders and folders[-1].isidentifier() and not any(letter.isdigit() for letter in folders[-1]):
        words.insert(0, folders[-1])
    if len(words) > 1 and words[-1] == "__init__":
        words.pop()
    return ".".join(words)


def _own(frames: list[Frame]) -> list[Frame]:
    """Return the frames that say most about the cause."""
    spelled = [(frame, frame.file.replace("\\", "/")) for frame in frames]
    used = [(frame, path) for frame, path in spelled if not _PLUMBING.search(path)]
    own = [frame for frame, path in used if not is_library(path)]
    return own or [frame for frame, _ in used] or frames


def is_library(path: str) -> bool:
    """Whether the file at *path* belongs to a library or to the standard library."""
    return _LIBRARY.search(path) is not None


def is_own(path: str) -> bool:
    """Whether the file at *path* is the user's own code, and not that of a library, of Celery or of Mirepoix."""
    spelled = path.replace("\\", "/")
    return not is_library(spelled) and _PLUMBING.search(spelled) is None
