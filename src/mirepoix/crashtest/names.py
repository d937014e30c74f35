"""Names of files that each run makes anew, of a clock, a counter or a UUID: files are compared without those parts."""

from __future__ import annotations

import re
from collections import Counter

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def pattern(name: str) -> str:
    """*name* without what a run makes anew."""
    return _NUMBER.sub("<n>", _UUID.sub("<uuid>", name))


def volatile_names(one: dict[str, bytes], other: dict[str, bytes]) -> frozenset[str]:
    """The patterns of the names in which two clean runs differ; none, if they differ in more than that."""
    left = Counter(pattern(name) for name in one.keys() - other.keys())
    right = Counter(pattern(name) for name in other.keys() - one.keys())
    return frozenset(left) if left == right else frozenset()


def named(files: dict[str, bytes], patterns: frozenset[str]) -> dict[str, bytes]:
    """*files*, those of *patterns* by the pattern; a second one has a ``+`` behind it. Half a file comes last."""
    found: dict[str, bytes] = {}
    for name, content in sorted(files.items(), key=lambda one: (-len(one[1]), one[0])):
        called = pattern(name) if pattern(name) in patterns else name
        while called in found:
            called += "+"
        found[called] = content
    return found
