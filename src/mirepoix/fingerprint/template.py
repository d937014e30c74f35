"""Turn the message of an exception into its template: what differs from one failure to the next, left out."""

from __future__ import annotations

import re

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
_QUOTED = re.compile(r"(?<!\w)[bruf]?('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`|“[^”\n]*”|«[^»\n]*»)(?!\w)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.]*(?:\(\))?")


def template(message: str, *, has_names: bool = False) -> str:
    """The first line of *message* with the values in it replaced: ``order <n> of <value> has no price``.

    Quoted texts are values. With *has_names* (the exception speaks of code: AttributeError) those that are names
    without a digit stay. A list of one kind of value is as long as one of them.
    """
    lines = message[:READ].strip().splitlines()
    text = _QUOTED.sub(lambda found: _quoted(found, has_names), lines[0] if lines else "")
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return " ".join(text.split())[:LONGEST]


def _quoted(found: re.Match[str], has_names: bool) -> str:
    inside = found[1][1:-1]
    return f"'{inside}'" if has_names and _NAME.fullmatch(inside) else "<value>"
