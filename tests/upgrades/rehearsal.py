"""An upgrade and the way back, step by step, with real processes of two versions on one ledger."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from upgrade_harness import HERE, TODAY, Software
from workers import DEADLINE_S, QUICK, Process, until

from driver import Ledger
from mirepoix.connect.url import source_for

EXPECTED_ERRORS = ("Task pantry.spill[", "-parked] is parked: the arguments do not fit")
"""What an error in a worker's log is about, if it belongs to the rehearsal."""


@dataclass(slots=True)
class Side:
    """One version, with what its processes are told beside the ledger."""

    name: str
    software: Software
    env: dict[str, str] = field(default_factory=dict)


class Rehearsal:
    """The ledger, the processes of both sides, and the notes of the tasks."""

    def __init__(self, folder: Path, url: str, old: Software, broker: str | None = None) -> None:
        folder.mkdir()
        shutil.copyfile(HERE / "rehearsal_app.py", folder / "rehearsal_app.py")
        self.folder = folder
        self.url = url
        self.old = Side("old", old)
        self.new = Side("new", TODAY, {"REHEARSAL_SCHEDULES": "yes"})
        self.old_pauses = False
        """Whether the old version knows pauses."""
        self._broker = {} if broker is None else {"REHEARSAL_BROKER": broker}
        self._processes: list[Process] = []
        self._ledger: Ledger | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.remove()
        if self._ledger is not None:
            self._ledger.connection.close()
            self._ledger.source.close()

    @property
    def ledger(self) -> Ledger:
        """A connection to the ledger. Use it only after a version has made the tables: an SQLite file makes its own."""
        if self._ledger is None:
            self._ledger = Ledger(source_for(self.url))
        return self._ledger

    @property
    def has_broker(self) -> bool:
        """Whether a broker notifies the workers."""
        return bool(self._broker)

    # Who acts

    def mirepoix(self, side: Side, *words: str) -> str:
        """Run ``mirepoix`` of a side, and return what it prints."""
        return self._run(side, "-m", "mirepoix.cli", "--ledger", self.url, *words)

    def send(self, side: Side, call: str, *args: object, task_id: str, queue: str = "celery") -> str:
        """Let a program of a side send a task of the app."""
        words = f"import rehearsal_app as a; a.{call}.apply_async({args!r}, task_id={task_id!r}, queue={queue!r})"
        self._run(side, "-c", words)
        return task_id

    def backlog(self, side: Side, name: str) -> None:
        """Let a program of a side send one task of each kind."""
        self._run(side, "rehearsal_app.py", "backlog", name)

    def stream(self, side: Side, name: str) -> Process:
        """Start a sender that goes on until `dam`."""
        return self._start(side, name, "rehearsal_app.py", "stream", name)

    def dam(self, sender: Process) -> list[str]:
        """End a sender that must have met no error; return the ids of what it sent."""
        self.make(f"{sender.name}.stop")
        assert sender.ends().exit_code == 0, sender.said
        return self.sent(sender)

    def worker(self, side: Side, name: str, queues: str, pool: str = "prefork") -> Process:
        """Start a worker that is ready when this returns."""
        command = ("-m", "celery", "-A", "rehearsal_app", "worker", "-n", f"{name}@test", "-l", "info")
        return self._start(side, name, *command, "-P", pool, "-c", "3", "-Q", queues, *QUICK).says(" ready.")

    def stop(self, worker: Process) -> None:
        """End a worker by SIGTERM. It must have met no error."""
        worker.stop()
        assert worker.exit_code == 0, worker.said
        self.met_no_error(worker)

    def met_no_error(self, worker: Process) -> None:
        """Fail if the worker's log has an error that the rehearsal does not explain."""
        wrong = [
            line
            for line in worker.said.splitlines()
            if ("ERROR/" in line or "CRITICAL/" in line) and not any(words in line for words in EXPECTED_ERRORS)
        ]
        assert not wrong, wrong

    def make(self, name: str) -> None:
        """Make a file that a task or a sender waits for."""
        (self.folder / name).touch()

    # What there is

    def sent(self, sender: Process) -> list[str]:
        """The ids of what a sender has sent."""
        file = self.folder / f"{sender.name}.sent"
        return file.read_text("utf-8").split() if file.exists() else []

    def notes(self, what: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        file = self.folder / "notes.jsonl"
        whole, _, _ = (file.read_text("utf-8") if file.exists() else "").rpartition("\n")
        return [note for note in map(json.loads, whole.splitlines()) if note["what"] == what]

    def sides_of(self, ids: Iterable[str]) -> set[str]:
        """Which workers ran these tasks: old ones, new ones, or both."""
        wanted = set(ids)
        return {note["side"] for note in self.notes("effect") if note["id"] in wanted}

    def begun(self, id: str, times: int) -> None:
        """Wait until a task has begun so often."""
        until(lambda: Counter(note["id"] for note in self.notes("begin"))[id] >= times, f"{id} has begun {times} times")

    def are(self, states: dict[str, str]) -> None:
        """Wait until these tasks are in these states."""
        found: dict[str, str] = {}

        def are_there() -> bool:
            found.update(self.ledger.states())
            return all(found.get(id) == state for id, state in states.items())

        try:
            until(are_there, "the tasks are as they should be")
        except AssertionError as error:
            wrong = {id: f"{found.get(id)}, not {state}" for id, state in states.items() if found.get(id) != state}
            raise AssertionError(f"{error}: {wrong}") from None

    def _run(self, side: Side, *command: str) -> str:
        done = subprocess.run(
            [side.software.python, *command],
            cwd=self.folder,
            env={**os.environ, **self._env(side)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{side.name}: {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start(self, side: Side, name: str, *command: str) -> Process:
        process = Process(name, [side.software.python, *command], self.folder, self._env(side))
        self._processes.append(process)
        return process

    def _env(self, side: Side) -> dict[str, str]:
        return {
            "UPGRADE_APP_LEDGER": self.url,
            "REHEARSAL_SIDE": side.name,
            **self._broker,
            **side.software.env,
            **side.env,
        }
