"""Divide a traceback into frames, so that a page shows the user's own frames before those of libraries."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirepoix.fingerprint.frames import is_own

_FRAME = re.compile(r'^ *(?:\| *)*File "([^"\n]*)", line (\d+), in (\S[^\n]*)$')
LONGEST = 200_000
"""The most letters of a traceback that are read."""


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """One frame: where, and the line of code, if the traceback has it."""

    file: str
    line: int
    function: str
    code: str


def own_frames(text: str) -> list[ShownFrame]:
    """Return the frames of the user's own code, the one that raised first. Equal neighbours are one frame."""
    found: list[ShownFrame] = []
    lines = text[:LONGEST].splitlines()
    for number, line in enumerate(lines):
        framed = _FRAME.match(line)
        if framed is None or not is_own(framed[1]):
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        has_code = following.startswith("    ") and _FRAME.match(following) is None
        frame = ShownFrame(framed[1], int(framed[2]), framed[3], following.strip() if has_code else "")
        if not found or found[-1] != frame:
            found.append(frame)
    return found[::-1]
