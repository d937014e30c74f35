"""Parse a traceback's text into its exceptions, in the order of their chain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mirepoix.fingerprint.frames import Frame

_DIRECT = "The above exception was the direct cause of the following exception:"
_HANDLING = "During handling of the above exception, another exception occurred:"
_LINK = re.compile(rf"^(?:{re.escape(_DIRECT)}|{re.escape(_HANDLING)})$", re.MULTILINE)
_FRAME = re.compile(r'^  File "([^"\n]*)", line \d+, in (\S[^\n]*)$')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*(?:\.<locals>\.[\w.]+)*)(?:: (.*))?$")
_GROUP = re.compile(r"^ *\+ Exception Group Traceback", re.MULTILINE)
_MARGIN = re.compile(r"^ *[|+] ?", re.MULTILINE)
_RULE = re.compile(r"^ *\+(?:-\+)?-{8,}(?: (?:\d+|\.\.\.) -+)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception: its class as written, the first line of its message, and the functions it passed through.

    ``error_type`` is None if the text ends before it. *members* are the exceptions of a group, each with the chain that
    led to it. *is_caused* says that the exception before it in the chain is its cause (``raise … from``).
    """

    error_type: str | None
    message: str
    frames: tuple[Frame, ...]
    is_caused: bool = False
    members: tuple[tuple[Raised, ...], ...] = field(default=())


def read(text: str) -> list[Raised]:
    """Return the exceptions of a traceback, the first one raised first. A truncated text is read as far as it goes."""
    chain: list[Raised] = []
    before = 0
    is_caused = False
    for link in [*_LINK.finditer(text), None]:
        part = text[before : link.start() if link else len(text)]
        if part.strip():
            chain.append(_group(part, is_caused) if _GROUP.search(part) else _raised(part, is_caused))
        if link is not None:
            before, is_caused = link.end(), link.group() == _DIRECT
    return chain


def _raised(text: str, is_caused: bool, members: tuple[tuple[Raised, ...], ...] = ()) -> Raised:
    """Parse frames, then the exception in a line that is not indented. All the rest is its message."""
    lines = text.splitlines()
    is_framed = any(map(_FRAME.match, lines))
    frames: list[Frame] = []
    for line in lines:
        framed = _FRAME.match(line)
        if framed is not None:
            frames.append(Frame(framed[1], framed[2]))
        elif (frames or not is_framed) and (named := _RAISED.match(line)) and not line.startswith("Traceback "):
            return Raised(named[1], named[2] or "", tuple(frames), is_caused, members)
    if is_framed and _FRAME.match(lines[-1]) and not text.endswith("\n"):
        frames.pop()  # the text was truncated within it
    return Raised(None, "", tuple(frames), is_caused, members)


def _group(text: str, is_caused: bool) -> Raised:
    """Parse a group, which is drawn as a tree. Two rules enclose each exception and each nested group."""
    own, *others = _RULE.split(text)
    members = []
    for other in others:
        inner = _without_margin(other)
        if inner.strip() and not inner.strip().startswith("and "):
            members.append(tuple(read(inner)))
    return _raised(_without_margin(own), is_caused, tuple(members))


def _without_margin(text: str) -> str:
    while _MARGIN.search(text):
        text = _MARGIN.sub("", text)
    return text
