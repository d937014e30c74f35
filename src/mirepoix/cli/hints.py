"""Commands in hints, as the reader can type them: ``manage.py mirepoix …`` or ``celery -A shop mirepoix …``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import click

PLAIN = "mirepoix"
_WRITTEN = re.compile(r"(?<!manage\.py )(?:celery -A YOUR_APP )?\bmirepoix (?=[a-z])")


def command(*words: str) -> str:
    """Return the command ``mirepoix retry ID`` as the reader has to type it here."""
    return " ".join([prefix(), *words])


def as_typed(text: str) -> str:
    """Return *text* with each ``mirepoix …`` as the reader has to type it here."""
    return _WRITTEN.sub(lambda _: f"{prefix()} ", text) if prefix() != PLAIN else text


def prefix() -> str:
    """Return the words before the command's name, as they were typed.

    The ledger's URL is left out, because it may hold a password.
    """
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
    if name.endswith(f" {PLAIN}"):  # Django's command, for any path of manage.py
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
