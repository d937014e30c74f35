"""Hide the values of arguments with names that say they are secret, before anybody sees them on a page.

A rule is a glob of a name, compared without case: ``*password*``. It applies to keywords, to keys of nested objects
and, if the names of the positional parameters are known, to these. It is a rule about names: a secret under an innocent
name is shown. Task arguments should not hold secrets at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

HIDDEN = "[hidden]"

DEFAULT = (
    *("*passw*", "*passphrase*", "*secret*", "*token*", "*api_key*", "*apikey*", "*api-key*", "*authorization*"),
    *("*credential*", "*private_key*", "*session*", "*cookie*", "*card*", "*cvv*", "*cvc*", "*iban*", "*ssn*", "pin"),
)
"""The names that are hidden by default."""

_A_PAIR = 2
"""A list of two, the first one a hidden name, is a name and its value."""

DEEPEST = 50
"""Objects that are nested deeper are hidden."""

_NAME = re.compile(r"""([\w-]{2,60})["']?\s{0,3}[=:]\s{0,3}""")
_PAIR = re.compile(r"""[(\[]\s{0,3}["']([\w-]{2,60})["']\s{0,3},\s{0,3}""")
"""The beginnings of ``name=value``, ``"name": value`` and ``("name", value)``."""

_QUOTED = re.compile(r"""[bru]?"(?:[^"\\\n]|\\.)*"?|[bru]?'(?:[^'\\\n]|\\.)*'?""", re.IGNORECASE)
_PLAIN = re.compile(r"(?:(?!\s{1,3}[\w-]{2,60}\s?[=:])[^,;&)}\]\n])+")
"""A value without quotes may have blanks. It ends before a mark, before the next name, or with the line."""

_NEITHER = re.compile(r"""[^"'()\[\]{}]+""")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
LONGEST_NESTED = 2_000
"""A value in brackets that is longer, or that does not end, is hidden to the end of its line."""


class Redactor:
    """The rules of one installation."""

    def __init__(self, rules: Iterable[str] = DEFAULT) -> None:
        self._rules = tuple(rule.lower() for rule in rules)

    def hides(self, name: str) -> bool:
        """Return whether the value under that name is hidden."""
        lowered = name.lower()
        return any(fnmatchcase(lowered, rule) for rule in self._rules)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return *value* with the hidden parts replaced."""
        if depth > DEEPEST:
            return HIDDEN
        if isinstance(value, dict):
            return {
                key: HIDDEN if self.hides(str(key)) else self.value(inner, depth + 1) for key, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            if len(value) == _A_PAIR and isinstance(value[0], str) and self.hides(value[0]):
                return [value[0], HIDDEN]
            return [self.value(inner, depth + 1) for inner in value]
        return value

    def arguments(
        self, args: Sequence[Any], kwargs: dict[str, Any], names: Sequence[str] = ()
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call with the hidden parts replaced. *names* are the positional parameters."""
        shown = [
            HIDDEN if place < len(names) and self.hides(names[place]) else self.value(arg)
            for place, arg in enumerate(args)
        ]
        hidden: dict[str, Any] = self.value(kwargs)
        return shown, hidden

    def text(self, text: str) -> str:
        """Return *text* (a message, a traceback) without the values of hidden names.

        It finds ``name=value``, ``"name": value`` and ``("name", value)``, where a value may be nested.
        """
        shown: list[str] = []
        end = 0
        found = sorted((*_NAME.finditer(text), *_PAIR.finditer(text)), key=lambda named: named.start())
        for named in found:
            # A name may stand in the value of another: "failed: password=x".
            if named.start() < end or not self.hides(named[1]):
                continue
            after = _end_of_value(text, named.end())
            if after > named.end():
                shown += [text[end : named.end()], HIDDEN]
                end = after
        return "".join([*shown, text[end:]])


def _end_of_value(text: str, begin: int) -> int:
    """Return where the value that begins there ends."""
    if quoted := _QUOTED.match(text, begin):
        return quoted.end()
    if text[begin : begin + 1] in _CLOSING:
        return _end_of_nested(text, begin)
    plain = _PLAIN.match(text, begin)
    return plain.end() if plain else begin


def _end_of_nested(text: str, begin: int) -> int:
    """Return where the bracket that opens there is closed, or else where its line ends."""
    closing: list[str] = []
    at, most = begin, min(len(text), begin + LONGEST_NESTED)
    while at < most:
        if passed := _NEITHER.match(text, at, most) or _QUOTED.match(text, at, most):
            at = passed.end()
            continue
        if text[at] in _CLOSING:
            closing.append(_CLOSING[text[at]])
        elif closing and text[at] == closing[-1]:
            closing.pop()
            if not closing:
                return at + 1
        at += 1
    line = text.find("\n", begin)
    return len(text) if line < 0 else line
