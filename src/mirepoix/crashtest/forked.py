"""Deliver a task in a child process and kill the child with SIGKILL at the planned point.

::

    parent                              child, made by os.fork()
    closes its connections              opens its own connections and runs the task
    records effects and steps     <---  sends each effect, each step, and the point that it reaches
    answers as the test's service <-->  asks the service
    reads the state                     SIGKILL

A killed process runs no ``finally:``, no ``atexit`` and no destructor, and loses everything that it has not flushed.
The exception that simulates a crash elsewhere only comes close to that. Changes of the test's memory are lost with the
child, for example the counter of a stub. The parent calls the function that the test gives as ``http``.

A child may hang if a thread of the test held a lock at the fork. The parent gives up after MOST_S.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from mirepoix.crashtest.databases.database import Database
from mirepoix.crashtest.deliver import Call, Ended, deliver
from mirepoix.crashtest.http import Service
from mirepoix.crashtest.journal import Journal
from mirepoix.crashtest.points import Delivery
from mirepoix.crashtest.unusable import Unusable
from mirepoix.errors import ConfigurationError

MOST_S = 120.0
"""A child that sends nothing for this long is assumed to hang."""


def require(databases: Sequence[Database]) -> None:
    """Raise ConfigurationError, with the remedy, if a killed child would not behave like a killed worker."""
    if not hasattr(os, "fork"):
        raise ConfigurationError("kill=True needs os.fork(), which Linux and macOS have. Leave it out on this system.")
    reasons = [reason for database in databases if (reason := database.unkillable)]
    if reasons:
        raise ConfigurationError(
            "kill=True kills a separate process. Its commits must be real and visible to others. " + " ".join(reasons)
        )


def deliver_and_kill(
    call: Call, delivery: Delivery, service: Service | None, databases: Sequence[Database], *, is_redelivered: bool
) -> Ended:
    """Run the task once in a child, until it ends or is killed. Record what it did in *delivery* here."""
    for database in databases:
        database.disconnect()
    receiver, tell = Pipe(duplex=False)
    asked, answer = Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the warning about threads; see the module's docstring
        pid = os.fork()
    if pid == 0:
        _child(call, delivery, tell, asked, is_redelivered=is_redelivered)
    tell.close()
    asked.close()
    try:
        with receiver, answer:
            return _listen(call, delivery, service, receiver, answer)
    finally:
        os.kill(pid, signal.SIGKILL)  # the pid stays ours until waitpid() below
        os.waitpid(pid, 0)


def _listen(call: Call, delivery: Delivery, service: Service | None, receiver: Connection, answer: Connection) -> Ended:
    while receiver.poll(MOST_S):
        try:
            what, content = receiver.recv()
        except EOFError:
            raise Unusable.child_lost(call) from None
        if what == "effect":
            delivery.journal.add(content)
        elif what == "step":
            delivery.journal.keep(*content)
        elif what == "ask":
            answer.send(_ask(service, delivery.journal, content))
        elif what == "broken":
            raise Unusable.child_broke(call, content)
        else:
            ended, points, tables, unmodelled, delivery.is_committed = content
            delivery.points += points
            delivery.tables |= tables
            delivery.unmodelled |= unmodelled
            return Ended(*ended)
    raise Unusable.child_hangs(call, MOST_S)


def _ask(service: Service | None, journal: Journal, request: Any) -> tuple[bool, Any]:
    """Return whether the service answered, and its answer or the exception that it raised."""
    try:
        found = (True, journal.ask(service, *request))
    except Exception as error:  # noqa: BLE001 (it is raised in the child, where the task waits for it)
        found = (False, error)
    try:
        pickle.dumps(found)
    except Exception:  # noqa: BLE001 (pickle raises what it likes)
        return (False, RuntimeError(f"The answer of http= cannot be sent to a child process: {found[1]!r}"))
    return found


def _child(call: Call, delivery: Delivery, tell: Connection, asked: Connection, *, is_redelivered: bool) -> NoReturn:
    """Run the delivery in the child, and end the child in every case."""
    try:
        wire = _Wire(delivery.journal, tell, asked)
        delivery.journal = wire
        delivery.kill = lambda: _die(delivery, wire)
        ended = deliver(call, delivery, is_redelivered=is_redelivered)
        wire.tell("ended", _facts(delivery, (ended.how, None, ended.traceback)))
    except BaseException:  # noqa: BLE001 (nothing may reach the copied stack of the parent)
        wire.tell("broken", traceback.format_exc())
    finally:
        os._exit(0)


def _die(delivery: Delivery, wire: _Wire) -> None:
    wire.tell("died", _facts(delivery, ("died",)))
    os.kill(os.getpid(), signal.SIGKILL)


def _facts(delivery: Delivery, ended: tuple[Any, ...]) -> tuple[Any, ...]:
    return (ended, delivery.points, delivery.tables, delivery.unmodelled, delivery.is_committed)


class _Wire(Journal):
    """The journal of a child. The parent has each entry before the child goes on."""

    def __init__(self, known: Journal, tell: Connection, asked: Connection) -> None:
        super().__init__()
        self.steps = dict(known.steps)
        self._tell, self._asked = tell, asked
        self._lock = threading.Lock()  # threads of the task also record effects

    def tell(self, what: str, content: Any) -> None:
        with self._lock:
            self._tell.send((what, content))

    def add(self, effect: dict[str, Any]) -> None:
        try:
            self.tell("effect", effect)
        except (pickle.PicklingError, TypeError, AttributeError):  # pickle raises all three
            self.tell("effect", {**effect, "payload": json.dumps(effect.get("payload"), default=str)})

    def keep(self, name: str, value: Any) -> None:
        super().keep(name, value)
        self.tell("step", (name, value))

    def ask(self, service: Service | None, known: tuple[str, str] | None, request: tuple[str, str, Any]) -> Any:
        with self._lock:
            self._tell.send(("ask", (known, request)))
            is_answer, found = self._asked.recv()
        if not is_answer:
            raise found
        return found
