"""What keeps a task from being explored, in the words of somebody who never read the manual."""

from __future__ import annotations

import re
from typing import Any

from mirepoix.crashtest.places import home_of, is_of_user

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line.*\n(?:    .*\n)*', re.MULTILINE)


class Unusable(AssertionError):
    """There is nothing to compare. The message says why, and what to do."""

    @classmethod
    def fails(cls, call: Any, ended: Any) -> Unusable:
        """Its clean run does not succeed."""
        name, error = call.task.name, ended.error
        if ended.how == "stuck":
            return cls(f"{name} asks for one retry after another in its clean run. Let what it waits for be there.")
        text = f"{type(error).__name__}: {error}"
        advice = "Let it succeed first: crashpoints() begins where an ordinary test of the task passes."
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
        """The process that was to be killed ended by itself."""
        return cls(
            f"{call.task.name} ended its process before the crash that was planned (os._exit(), a signal, a fault in C "
            "code), which kill=True runs it in. Leave kill=True out."
        )

    @classmethod
    def child_broke(cls, call: Any, text: str) -> Unusable:
        """The process that was to be killed did not come to the end of the delivery."""
        return cls(f"{call.task.name} could not be delivered in a process of its own (kill=True):\n\n{text}".rstrip())

    @classmethod
    def child_hangs(cls, call: Any, most_s: float) -> Unusable:
        """The process that was to be killed says nothing."""
        return cls(
            f"{call.task.name} did nothing for {most_s:.0f} s in a process of its own (kill=True). Such a process has "
            "but one thread, so that a lock which another thread of the test holds is never released there: stop "
            "that thread before, or leave kill=True out."
        )

    @classmethod
    def without_points(cls, call: Any) -> Unusable:
        """It did nothing that outlives its process."""
        return NothingSeen(
            f"{call.task.name} did nothing that crashpoints can see: no write to a database it watches or to Redis, no "
            "request that changes something, no mail, no task sent. If it took a short cut, give it arguments that "
            "make it work. Files are watched in folders that you name: files=[tmp_path]. Rows that SQLAlchemy writes: "
            "state=engine. Threads and subprocesses are not seen."
        )


class NothingSeen(Unusable):
    """The task did nothing that can be seen."""


def _own_lines(traceback: str, home: str) -> str:
    """The frames of the user's code in *traceback*."""
    return "".join(found.group() for found in _FRAME.finditer(traceback) if is_of_user(found["path"], home))


def _is_of(error: BaseException, *libraries: str) -> bool:
    return any(base.__module__.partition(".")[0] in libraries for base in type(error).__mro__)
