"""Turn the message of an exception into its template: what differs from one failure to the next, left out."""

from __future__ import annotations

import re
from http import HTTPStatus

LONGEST = 200
"""Letters of a template; what follows tells no two causes apart."""

READ = 5_000
"""Letters of a message that are looked at."""

_NUMBERED = r"(?<![\w<])[-+]?(?:[^\W_]{1,40}[-_.:]){0,12}[^\W_]{0,64}\d(?:[\w.,+:%-]*[\w%])?"
"""A word with a digit in it. No part can be read in two ways: nobody's message takes long."""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"<>]+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]+\.[\w.-]+", "<email>"),
        (r"(?<![\w>])(?:[A-Za-z]:|~|\.{1,2})?(?:[/\\][\w.@+~%-]+)+[/\\]?", "<path>"),
        # Whatever has a digit in it: numbers, ids, UUIDs, times, addresses, hashes.
        (_NUMBERED, "<n>"),
        (r"<n>(?:[\s,:/x*-]*<n>)+", "<n>"),
        (r"(<\w+>)(?:\s*[,;]\s*\1)+", r"\1"),
        (r"(<\w+>: <\w+>)(?:, <\w+>: <\w+>)+", r"\1"),
    )
)
_PHRASES = "|".join(rf"\b{one.value}(?= {re.escape(one.phrase)}\b)" for one in HTTPStatus)
_STATUS = re.compile(
    rf"\b[1-5]\d\d(?= (?:Client|Server) Error\b)|{_PHRASES}"
    r"|(?<=\bHTTP )[1-5]\d\d\b|(?<=\bHTTP/1\.[01] )[1-5]\d\d\b|(?<=\bHTTP/2 )[1-5]\d\d\b"
    r"|(?i:(?<=\bstatus )|(?<=\bstatus: )|(?<=\bstatus code )|(?<=\bstatus code: )|(?<=\bstatus_code=))[1-5]\d\d\b"
)
"""A status of HTTP says what went wrong: 503 and 404 are two causes."""
_HIDDEN = {ord(digit): chr(0xE000 + number) for number, digit in enumerate("0123456789")}
_SHOWN = {ord(hidden): chr(digit) for digit, hidden in _HIDDEN.items()}
_QUOTED = re.compile(r"(?<!\w)[bruf]?('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`|“[^”\n]*”|«[^»\n]*»)(?!\w)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.]*(?:\(\))?")


def template(message: str, *, has_names: bool = False) -> str:
    """The first line of *message* with the values in it replaced: ``order <n> of <value> has no price``.

    Quoted texts are values. With *has_names* (the exception speaks of code: AttributeError) those that are names
    without a digit stay, and so does a status of HTTP. A list of one kind of value is as long as one of them.
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
