"""The fingerprint and the title of a failure. They are the same for every failure of one cause, in every process.

A fingerprint has three inputs. The first is the class of the *first* exception in the chain of causes (``raise …
from``), so a wrapper that a release adds changes nothing. The second is the user's functions that the exceptions passed
through, without lines and libraries. The third is the template of the message (`mirepoix.fingerprint.template`). If
an exception was raised while another was handled (without ``from``), only the second counts. Two cases differ: the
second is the first again, or Celery raised it to ask for a retry. Then the first counts.

A fingerprint is not a judgement about causes. A bug that raises in two functions gives two groups. An outage gives a
group for each function that it affects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mirepoix.fingerprint.frames import places
from mirepoix.fingerprint.template import template
from mirepoix.fingerprint.traceback_parser import Raised, read

VERSION = 1
"""Rises when the same failure gets another fingerprint. Groups of an earlier version are then no longer found."""

LONGEST_TEXT = 1_000_000
LONGEST_TITLE = 250

_RETRIES = frozenset({"celery.exceptions.Retry", "celery.exceptions.MaxRetriesExceededError"})
_NO_CAUSES = frozenset({"CancelledError", "StopIteration", "StopAsyncIteration", "GeneratorExit", "_RemoteTraceback"})
"""These only report another exception: TimeoutError is raised *from* CancelledError."""
_ANYWHERE = frozenset({"SoftTimeLimitExceeded", "TimeLimitExceeded", "MemoryError"})
"""The function where these are raised is random, so only the task counts."""
_WITHOUT_MESSAGE = frozenset({"RecursionError", "WorkerLostError"})
"""The message of these is random: it depends on the current function or on how the death was detected."""
_OF_CODE = frozenset(
    {"AttributeError", "NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "TypeError"}
)
_MEMBERS = re.compile(r" \(\d+ sub-exceptions?\)$")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The common part of failures of one cause: twelve hexadecimal digits, and a title without values."""

    id: str
    title: str


def of(
    *, task: str, reason: str, error_type: str | None = None, traceback: str | None = None, roots: Sequence[str] = ()
) -> Fingerprint | None:
    """Return the fingerprint of a failed attempt of *task*, or None if nothing failed (a plain retry).

    *reason* is the exception in one line, or words. *roots* are the folders that modules are imported from
    (``sys.path``). The task's name counts only if the failing code is unknown: for deaths, and without a traceback.
    """
    chain = read((traceback or "")[-LONGEST_TEXT:])
    if not any(raised.frames or raised.members for raised in chain):  # the text is not a traceback
        chain = [Raised(None, "", ())]
    if chain[-1].error_type is None:
        chain[-1] = replace(chain[-1], error_type=_unqualified(error_type), message=_message_in(reason, error_type))
    chain = _without_retry(chain, reason, _unqualified(error_type))
    if chain[-1].error_type == "celery.exceptions.Retry":
        return None
    root, where = _root(chain, roots)
    what = _kind_of(root, roots)
    named = where or [task]
    digest = hashlib.sha256(json.dumps([VERSION, what, named]).encode("utf-8", "backslashreplace")).hexdigest()
    return Fingerprint(digest[:12], _title(root, named[-1])[:LONGEST_TITLE])


def _without_retry(chain: list[Raised], reason: str, error_type: str | None) -> list[Raised]:
    """Replace Celery's own exceptions about retries in *chain* by the exception that the retry was asked for."""
    asked = chain[-1]
    if asked.error_type not in _RETRIES:
        return chain
    is_given = error_type is not None and error_type not in _RETRIES
    if len(chain) > 1 and (not is_given or _short(chain[-2]) == (error_type or "").rpartition(".")[2]):
        return _without_retry(chain[:-1], reason, error_type)
    if is_given:  # retry(exc=...) with an exception that was not raised
        return [*chain[:-1], replace(asked, error_type=error_type, message=_message_in(reason, error_type))]
    return chain


def _root(chain: Sequence[Raised], roots: Sequence[str]) -> tuple[Raised, list[str]]:
    """Return the exception that the last one of *chain* goes back to, and the functions on the way, outermost first."""
    first = len(chain) - 1
    while first > 0 and _short(chain[first - 1]) not in _NO_CAUSES and _is_the_same(chain[first - 1], chain[first]):
        first -= 1
    root = chain[first]
    if _short(root) == "RecursionError":
        return root, places(root.frames, roots, is_recursion=True)
    frames = [frame for raised in reversed(chain[first:]) for frame in raised.frames]
    where = places(frames, roots)
    return root, where[:1] if _short(root) in _ANYWHERE else where


def _is_the_same(earlier: Raised, later: Raised) -> bool:
    return later.is_caused or (earlier.error_type, earlier.message) == (later.error_type, later.message)


def _kind_of(raised: Raised, roots: Sequence[str]) -> list[Any]:
    """Describe the class and the message. For a group, describe each kind of member once, in no order."""
    members = []
    for chain in raised.members:
        root, where = _root(chain, roots)
        members.append(json.dumps([_kind_of(root, roots), where]))
    return [raised.error_type, _message(raised), sorted(set(members))]


def _message(raised: Raised) -> str:
    kind, message = _short(raised), _MEMBERS.sub("", raised.message)
    if kind in _WITHOUT_MESSAGE:
        return ""
    if raised.error_type in _RETRIES:  # the id and the arguments follow
        message = message.partition("[")[0]
    return template(message, has_names=kind in _OF_CODE)


def _title(raised: Raised, where: str) -> str:
    kinds = sorted({_short(chain[-1]) for chain in raised.members if chain})
    said = _short(raised) + (f" of {', '.join(kinds)}" if kinds else "")
    message = _message(raised)
    return f"{said}: {message} in {where}" if message else f"{said} in {where}"


def _short(raised: Raised) -> str:
    return (raised.error_type or "failure").rpartition(".")[2]


def _unqualified(error_type: str | None) -> str | None:
    """Return the class's name in the form of tracebacks."""
    return error_type.removeprefix("builtins.").removeprefix("__main__.") if error_type else None


def _message_in(reason: str, error_type: str | None) -> str:
    """Return the message in *reason*, which may begin with the exception's class."""
    short = (error_type or "").rpartition(".")[2]
    return reason.removeprefix(f"{short}: ") if short else reason
