"""Commands in hints, as the reader can type them: ``manage.py mirepoix …`` or ``celery -A shop mirepoix …``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import click

PLAIN = "mirepoix"
YOUR_APP = "celery -A YOUR_APP"
"""How a text names the app if it does not know it."""

_WRITTEN = re.compile(r"(?<!manage\.py )(?:celery -A YOUR_APP )?\bmirepoix (?=[a-z])")


def command(*words: str) -> str:
    """Return the command ``mirepoix retry ID`` as the reader has to type it here."""
    return " ".join([prefix(), *words])


def as_typed(text: str) -> str:
    """Return *text* with each ``mirepoix …``, and the app of each ``celery …``, as the reader has to type it here."""
    text = text.replace(f"{PLAIN} --app YOUR_APP", PLAIN) if prefix() != PLAIN else text
    text = _WRITTEN.sub(lambda _: f"{prefix()} ", text) if prefix() != PLAIN else text
    app = _app_of(_group())
    return text.replace(YOUR_APP, f"celery -A {app}") if app else text


def prefix() -> str:
    """Return the words before the command's name, as they were typed.

    The ledger's URL is left out, because it may hold a password.
    """
    group = _group()
    if group is None:
        return PLAIN
    if group.parent is not None:  # celery -A … mirepoix
        app = _typed_app(sys.argv[1:])
        return f"celery -A {app} {PLAIN}" if app else f"celery {PLAIN}"
    if _is_djangos(group):  # for any path of manage.py
        return f"manage.py {PLAIN}"
    app = group.params.get("app")
    typed = group.get_parameter_source("app") is click.core.ParameterSource.COMMANDLINE
    return f"{PLAIN} --app {app}" if app and typed else PLAIN


def _group() -> click.Context | None:
    """Return the context of the command ``mirepoix``; None outside of it."""
    group = click.get_current_context(silent=True)
    while group is not None and not (group.command.name == PLAIN and isinstance(group.command, click.Group)):
        group = group.parent
    return group


def _is_djangos(group: click.Context) -> bool:
    return (group.info_name or PLAIN).endswith(f" {PLAIN}")


def _app_of(group: click.Context | None) -> str | None:
    """Return what stands behind ``celery -A`` for this app. With Django it is the name of the app."""
    if group is None:
        return None
    if group.parent is not None:
        return _typed_app(sys.argv[1:])
    if _is_djangos(group):
        return getattr(getattr(group.obj, "app", None), "main", None)
    return group.params.get("app")


def _typed_app(words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-A", "--app"):
            return following
        if word.startswith("--app="):
            return word.removeprefix("--app=")
        if word.startswith("-A") and not word.startswith("--"):
            return word[2:]
    return None
