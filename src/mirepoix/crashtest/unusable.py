"""The errors that say why a task cannot be explored, in words for somebody who has not read the manual."""

from __future__ import annotations

import re
from typing import Any

from mirepoix.crashtest.places import home_of, is_of_user

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line.*\n(?:    .*\n)*', re.MULTILINE)


class Unusable(AssertionError):
    """The task's runs cannot be compared. The message says why, and what to do."""

    @classmethod
    def fails(cls, call: Any, ended: Any) -> Unusable:
        """The clean run does not succeed."""
        name, error = call.task.name, ended.error
        if ended.how == "stuck":
            return cls(f"{name} asks for one retry after another in its clean run. Provide what it waits for.")
        text = f"{type(error).__name__}: {error}"
        advice = "Let it succeed first: crashpoints() needs a task that passes an ordinary test."
        if "Database access not allowed" in text:
            advice = "Mark the test: @pytest.mark.django_db."
        elif _is_of(error, "botocore", "boto3"):
            advice = "It reached for AWS. Stub that service as in your other tests, or name a local one: endpoint_url=."
        elif _is_of(error, "requests", "httpx", "urllib3", "aiohttp"):
            advice = (
                "It reached for a service. Stub that service as in your other tests, or let crashpoints answer: "
                'crashpoints(task, ..., http=lambda method, url, body: {"id": "1"}).'
            )
        where = _own_lines(ended.traceback, home_of(call.task))
        return cls(f"{name} fails in its clean run, without any crash: {text}\n{advice}\n\n{where}".rstrip())

    @classmethod
    def not_deterministic(cls, call: Any, what: str) -> Unusable:
        """Two clean runs differ in more than single values."""
        return cls(
            f"Two clean runs of {call.task.name} from the same state differ ({what}), so a difference after a crash "
            "would mean nothing. Seed what is random (random.seed, Faker.seed) or freeze the clock in the test."
        )

    @classmethod
    def child_lost(cls, call: Any) -> Unusable:
        """The child process ended by itself before the planned crash."""
        return cls(
            f"{call.task.name} ended its process before the crash that was planned (os._exit(), a signal, a fault in C "
            "code). kill=True runs the task in a separate process. Leave kill=True out."
        )

    @classmethod
    def child_broke(cls, call: Any, text: str) -> Unusable:
        """The child process did not complete the delivery."""
        return cls(f"{call.task.name} could not be delivered in a separate process (kill=True):\n\n{text}".rstrip())

    @classmethod
    def child_hangs(cls, call: Any, most_s: float) -> Unusable:
        """The child process sends nothing."""
        return cls(
            f"{call.task.name} did nothing for {most_s:.0f} s in a separate process (kill=True). That process has only "
            "one thread. If another thread of the test held a lock at the fork, the lock is never released there. "
            "Stop that thread first, or leave kill=True out."
        )

    @classmethod
    def without_points(cls, call: Any) -> Unusable:
        """The task did nothing that outlives its process."""
        return NothingSeen(
            f"{call.task.name} did nothing that crashpoints can see: no write to a database it watches or to Redis, no "
            "request that changes something, no mail, no task sent. If the task returned early, give it arguments with "
            "which it acts. To watch files, name their folders: files=[tmp_path]. To watch rows that SQLAlchemy "
            "writes: state=engine. Threads and subprocesses are not seen."
        )


class NothingSeen(Unusable):
    """The task did nothing that the tester can see."""


def _own_lines(traceback: str, home: str) -> str:
    """Return the frames of user code in *traceback*."""
    return "".join(found.group() for found in _FRAME.finditer(traceback) if is_of_user(found["path"], home))


def _is_of(error: BaseException, *libraries: str) -> bool:
    return any(base.__module__.partition(".")[0] in libraries for base in type(error).__mro__)
