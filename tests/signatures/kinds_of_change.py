"""Each kind of change of a parameter, with its verdict, and what really happens to calls of real functions.

``python tests/signatures/kinds_of_change.py`` puts the table into docs/reference/signatures.md.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from real_functions import call, function, shapes

from mirepoix.signatures.compatibility import Verdict
from mirepoix.signatures.difference import ChangeKind
from mirepoix.signatures.signature import Signature, signature_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "signatures.md"
_BEGIN = "<!-- made by tests/signatures/kinds_of_change.py -->\n"
_END = "<!-- end -->\n"

SAFE, PARKS, WRONG = Verdict

KINDS_OF_CHANGE = [
    # old, new, what is changed, old payloads on new code, new payloads on old code
    ("a", "a, b", [ChangeKind.ADDED], PARKS, PARKS),
    ("a", "a, b=0", [ChangeKind.ADDED], SAFE, PARKS),
    ("a", "b, a", [ChangeKind.ADDED], PARKS, PARKS),
    ("a=0", "b=0, a=0", [ChangeKind.ADDED], WRONG, WRONG),
    ("a", "a, *, b", [ChangeKind.ADDED], PARKS, PARKS),
    ("a", "a, *, b=0", [ChangeKind.ADDED], SAFE, PARKS),
    ("a, b", "a", [ChangeKind.REMOVED], PARKS, PARKS),
    ("a, b=0", "a", [ChangeKind.REMOVED], PARKS, SAFE),
    ("a=0, b=0", "b=0", [ChangeKind.REMOVED], WRONG, WRONG),
    ("a, *, b=0", "a", [ChangeKind.REMOVED], PARKS, SAFE),
    ("a, b", "a, c", [ChangeKind.RENAMED], WRONG, WRONG),
    ("a, /", "b, /", [ChangeKind.RENAMED], WRONG, WRONG),
    ("*, a", "*, b", [ChangeKind.RENAMED], PARKS, PARKS),
    ("*, a=0", "*, b=0", [ChangeKind.RENAMED], PARKS, PARKS),
    ("*args", "*rest", [ChangeKind.RENAMED], SAFE, SAFE),
    ("**options", "**rest", [ChangeKind.RENAMED], SAFE, SAFE),
    ("a, b", "b, a", [ChangeKind.REORDERED], WRONG, WRONG),
    ("a, b, c", "a, c, b", [ChangeKind.REORDERED], WRONG, WRONG),
    ("*, a, b", "*, b, a", [], SAFE, SAFE),
    ("a", "a, /", [ChangeKind.KIND_CHANGED], PARKS, SAFE),
    ("a, /", "a", [ChangeKind.KIND_CHANGED], SAFE, PARKS),
    ("a", "*, a", [ChangeKind.KIND_CHANGED], PARKS, SAFE),
    ("*, a", "a", [ChangeKind.KIND_CHANGED], SAFE, PARKS),
    ("a, /", "*, a", [ChangeKind.KIND_CHANGED], PARKS, PARKS),
    ("a", "a=0", [ChangeKind.DEFAULT_ADDED], SAFE, PARKS),
    ("a=0", "a", [ChangeKind.DEFAULT_REMOVED], PARKS, SAFE),
    ("*, a=0", "*, a", [ChangeKind.DEFAULT_REMOVED], PARKS, SAFE),
    ("a=0", "a=1", [ChangeKind.DEFAULT_CHANGED], SAFE, SAFE),
    ("a: int", "a: str", [ChangeKind.ANNOTATION_CHANGED], SAFE, SAFE),
    ("a", "a: int", [ChangeKind.ANNOTATION_CHANGED], SAFE, SAFE),
    ("a", "a, *args", [ChangeKind.ADDED], SAFE, PARKS),
    ("a, *args", "a", [ChangeKind.REMOVED], PARKS, SAFE),
    ("a", "a, **options", [ChangeKind.ADDED], SAFE, PARKS),
    ("a, **options", "a", [ChangeKind.REMOVED], PARKS, SAFE),
    ("a, *args", "a, b=0, *args", [ChangeKind.ADDED], WRONG, WRONG),
    ("a, **options", "a, *, b=0, **options", [ChangeKind.ADDED], SAFE, SAFE),
    ("a, b=0", "a, **options", [ChangeKind.REMOVED, ChangeKind.ADDED], PARKS, PARKS),
    ("a, b=0", "a, *args, **options", [ChangeKind.REMOVED, ChangeKind.ADDED, ChangeKind.ADDED], WRONG, WRONG),
    ("a, b, c=0", "a, b=0", [ChangeKind.REMOVED, ChangeKind.DEFAULT_ADDED], PARKS, PARKS),
    ("a", "a", [], SAFE, SAFE),
    ("", "", [], SAFE, SAFE),
]


def written(parameters: str, **fields) -> Signature:
    """The signature of ``def charge(parameters)``."""
    namespace: dict = {}
    exec(f"def charge({parameters}): ...", namespace)
    return signature_of("charge", inspect.signature(namespace["charge"]), **fields)


@dataclass(frozen=True)
class Really:
    """How many of the calls that fit one function another took, refused, and gave to other parameters."""

    right: int
    refused: int
    wrong: int

    @property
    def verdict(self) -> Verdict:
        return WRONG if self.wrong else PARKS if self.refused else SAFE

    def __str__(self) -> str:
        counted = {"run": self.right, "refused": self.refused, "wrong": self.wrong}
        return ", ".join(f"{number} {word}" for word, number in counted.items() if number)


def really(writer: Signature, reader: Signature) -> Really:
    """ChangeKind becomes of every call, with up to four arguments by position and one keyword that nobody names."""
    names = sorted({one.name for one in (*writer.parameters, *reader.parameters)} | {"another"})
    write, read = function(writer), function(reader)
    right = refused = wrong = 0
    for shape in shapes(4, tuple(names)):
        meant = call(write, shape)
        if meant is None:
            continue
        comes = call(read, shape)
        right += comes == meant
        refused += comes is None
        wrong += comes is not None and comes != meant
    return Really(right, refused, wrong)


def table() -> str:
    """The table of the page."""
    lines = [
        "| old | new | changed | old payloads, new code | they really | new payloads, old code | they really |",
        "|---|---|---|---|---|---|---|",
    ]
    for old, new, what, old_to_new, new_to_old in KINDS_OF_CHANGE:
        before, after = written(old), written(new)
        changed = ", ".join(dict.fromkeys(what)) or "nothing"
        lines.append(
            f"| `({old})` | `({new})` | {changed} | {old_to_new} | {really(before, after)} "
            f"| {new_to_old} | {really(after, before)} |"
        )
    return _BEGIN + "\n".join(lines) + "\n" + _END


def rewrite() -> None:
    """Replace the table in the page."""
    text = PAGE.read_text("utf-8")
    PAGE.write_text(re.sub(re.escape(_BEGIN) + ".*?" + re.escape(_END), lambda _: table(), text, flags=re.DOTALL))


if __name__ == "__main__":
    rewrite()
