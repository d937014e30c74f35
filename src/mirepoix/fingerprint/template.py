"""Turn the message of an exception into its template, without the values that differ from failure to failure."""

from __future__ import annotations

import re
from http import HTTPStatus

LONGEST = 200
"""The longest template, in letters. The rest does not distinguish causes."""

READ = 5_000
"""The number of letters of a message that are read."""

_NUMBERED = r"(?<![\w<])[-+]?(?:[^\W_]{1,40}[-_.:]){0,12}[^\W_]{0,64}\d(?:[\w.,+:%-]*[\w%])?"
"""A word with a digit in it. No part can match in two ways, so no message takes long."""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"<>]+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]+\.[\w.-]+", "<email>"),
        (r"(?<![\w>])(?:[A-Za-z]:|~|\.{1,2})?(?:[/\\][\w.@+~%-]+)+[/\\]?", "<path>"),
        # Anything with a digit: numbers, ids, UUIDs, times, addresses, hashes.
        (_NUMBERED, "<n>"),
        (r"<n>(?:[\s,:/x*-]*<n>)+", "<n>"),
        (r"(<\w+>)(?:\s*[,;]\s*\1)+", r"\1"),
        (r"(<\w+>: <\w+>)(?:, <\w+>: <\w+>)+", r"\1"),
    )
)
_PHRASES = "|".join(rf"\b{status.value}(?= {re.escape(status.phrase)}\b)" for status in HTTPStatus)
_STATUS = re.compile(
    rf"\b[1-5]\d\d(?= (?:Client|Server) Error\b)|{_PHRASES}"
    r"|(?<=\bHTTP )[1-5]\d\d\b|(?<=\bHTTP/1\.[01] )[1-5]\d\d\b|(?<=\bHTTP/2 )[1-5]\d\d\b"
    r"|(?i:(?<=\bstatus )|(?<=\bstatus: )|(?<=\bstatus code )|(?<=\bstatus code: )|(?<=\bstatus_code=))[1-5]\d\d\b"
)
"""An HTTP status distinguishes causes: 503 and 404 are different."""
_HIDDEN = {ord(digit): chr(0xE000 + number) for number, digit in enumerate("0123456789")}
_SHOWN = {ord(hidden): chr(digit) for digit, hidden in _HIDDEN.items()}
_QUOTED = re.compile(r"(?<!\w)[bruf]?('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`|“[^”\n]*”|«[^»\n]*»)(?!\w)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.]*(?:\(\))?")


def template(message: str, *, has_names: bool = False) -> str:
    """Return the first line of *message* with placeholders for values: ``order <n> of <value> has no price``.

    Quoted texts are values. With *has_names* (the exception is about code: AttributeError) quoted names without a digit
    stay. An HTTP status always stays. A list of equal placeholders is shortened to one.
    """
    lines = message[:READ].strip().splitlines()
    text = _QUOTED.sub(lambda found: _quoted(found, has_names), lines[0] if lines else "")
    text = _STATUS.sub(lambda found: found[0].translate(_HIDDEN), text)
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return " ".join(text.translate(_SHOWN).split())[:LONGEST]


def _quoted(found: re.Match[str], has_names: bool) -> str:
    inside = found[1][1:-1]
    return f"'{inside}'" if has_names and _NAME.fullmatch(inside) else "<value>"
