"""Commands as whoever reads a hint can type them: ``manage.py mirepoix …`` in Django, ``celery -A shop mirepoix …``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import click

PLAIN = "mirepoix"
_WRITTEN = re.compile(r"(?<!manage\.py )(?:celery -A YOUR_APP )?\bmirepoix (?=[a-z])")


def command(*words: str) -> str:
    """``mirepoix retry ID``, as it is to be typed where this runs."""
    return " ".join([prefix(), *words])


def as_typed(text: str) -> str:
    """A message of a layer that does not know how it was called, with its ``mirepoix …`` as it is to be typed."""
    return _WRITTEN.sub(lambda _: f"{prefix()} ", text) if prefix() != PLAIN else text


def prefix() -> str:
    """What stands before the command's name: as it was typed, without the ledger's URL, which may hold a password."""
    context = click.get_current_context(silent=True)
    group = context
    while group is not None and not (group.command.name == PLAIN and isinstance(group.command, click.Group)):
        group = group.parent
    if group is None:
        return PLAIN
    if group.parent is not None:  # celery -A … mirepoix
        app = _typed_app(sys.argv[1:])
        return f"celery -A {app} {PLAIN}" if app else f"celery {PLAIN}"
    name = group.info_name or PLAIN
    if name.endswith(f" {PLAIN}"):  # of Django's command, wherever its manage.py is
        return f"manage.py {PLAIN}"
    app = group.params.get("app")
    typed = group.get_parameter_source("app") is click.core.ParameterSource.COMMANDLINE
    return f"{PLAIN} --app {app}" if app and typed else PLAIN


def _typed_app(words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-A", "--app"):
            return following
        if word.startswith("--app="):
            return word.removeprefix("--app=")
        if word.startswith("-A") and not word.startswith("--"):
            return word[2:]
    return None
