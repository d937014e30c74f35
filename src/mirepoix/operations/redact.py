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

DEEPEST = 50
"""Objects that are nested deeper are hidden."""

_NAME = re.compile(r"""([\w-]{2,60})["']?\s{0,3}[=:]\s{0,3}""")
_VALUE = re.compile(r"""[bru]?"[^"\n]*"?|[bru]?'[^'\n]*'?|(?:(?:Bearer|Basic)\s+)?[^\s,;&)}\]]+""", re.IGNORECASE)


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
        """Return *text* (a message, a traceback) with the values of ``name=value`` and ``"name": value`` replaced."""
        shown: list[str] = []
        end = 0
        for named in _NAME.finditer(text):
            # A name may stand in the value of another: "failed: password=x".
            if named.start() < end or not self.hides(named[1]):
                continue
            value = _VALUE.match(text, named.end())
            if value is not None:
                shown += [text[end : named.end()], HIDDEN]
                end = value.end()
        return "".join([*shown, text[end:]])
