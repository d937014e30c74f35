"""A ledger with the app of `upgrade_app.py` beside it, and its workers, whatever Python and Mirepoix they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from workers import DEADLINE_S, QUICK, Process, until

from driver import Ledger
from mirepoix.connect.url import source_for

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


@dataclass(frozen=True, slots=True)
class Software:
    """What a process runs: a Python with its Celery, and a Mirepoix, installed in that Python if *source* is None."""

    python: str = sys.executable
    source: Path | None = SOURCE

    @property
    def env(self) -> dict[str, str]:
        """What makes the process run it."""
        return {"PYTHONPATH": str(self.source or ""), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}


TODAY = Software()


@dataclass(slots=True)
class UpgradeHarness:
    """One ledger, the notes that its tasks make, and every worker that was started."""

    folder: Path
    url: str
    env: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.folder.mkdir()
        (self.folder / "upgrade_app.py").write_text((HERE / "upgrade_app.py").read_text("utf-8"), "utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.remove()

    def run(self, software: Software, *command: str) -> subprocess.CompletedProcess[str]:
        """``python`` with these arguments, to its end."""
        return subprocess.run(
            [software.python, *command],
            cwd=self.folder,
            env={**os.environ, **self._env(software)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def send_all(self, software: Software = TODAY) -> None:
        """Send one call of each kind."""
        sent = self.run(software, "upgrade_app.py")
        assert sent.returncode == 0, sent.stderr

    def worker(self, software: Software = TODAY, *options: str, name: str = "w", is_awaited: bool = True) -> Process:
        """A worker of two processes; it is ready when this returns, unless *is_awaited* is false."""
        command = [software.python, "-m", "celery", "-A", "upgrade_app", "worker", "-n", f"{name}@test", "-l", "info"]
        command += ["-c", "2", "-Q", "celery,fussy", *QUICK, *options]
        process = Process(name, command, self.folder, self._env(software))
        self.processes.append(process)
        return process.says(" ready.") if is_awaited else process

    def wait(self, states: dict[str, str]) -> None:
        """Wait until the ledger has these tasks in these states."""
        with Ledger(source_for(self.url)) as ledger:

            def are_there() -> bool:
                found = ledger.states()
                return all(found.get(id) == state for id, state in states.items())

            try:
                until(are_there, "the tasks are as they should be")
            except AssertionError as error:
                found = ledger.states()
                wrong = {id: found.get(id, "not there") for id in states if found.get(id) != states[id]}
                logs = "\n".join(process.said[-3000:] for process in self.processes)
                raise AssertionError(f"{error}: {wrong}\n{logs}") from None

    def have_run(self, times: int) -> None:
        """Wait until every task has run so often."""

        def have_they() -> bool:
            notes = self.notes()
            return all(len(notes.get(id, ())) >= times for id in expected(""))

        until(have_they, f"every task has run {times} times")

    def notes(self) -> dict[str, list[dict[str, Any]]]:
        """What each task noted, run by run."""
        file = self.folder / "notes.jsonl"
        found: dict[str, list[dict[str, Any]]] = {}
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            note = json.loads(line)
            found.setdefault(note["id"], []).append(note)
        return found

    def _env(self, software: Software) -> dict[str, str]:
        return {"UPGRADE_APP_LEDGER": self.url, **self.env, **software.env}


def runs(kind: str, args: str, kwargs: str = "{}", **more: Any) -> dict[str, Any]:
    """What one run has to note, as far as it is the same each time."""
    return {"task": f"pantry.{kind}", "args": args, "kwargs": kwargs, **more}


def expected(typed: str) -> dict[str, dict[str, Any]]:
    """The note of every task that `harness.send_all` makes run, by its id. *typed* is how Python writes its values."""
    found = {
        "plain": runs("keep", "(1, 'two')", root="plain"),
        "typed": runs("keep", "()", typed),
        "typed-args": runs("keep", "(Decimal('10.10'), b'\\xff\\x00')"),
        "eta": runs("keep", "()", "{'at': 'eta'}", eta="2026-01-02T03:04:05+00:00"),
        "expires": runs("keep", "()", expires="2096-01-02T03:04:05+00:00"),
        "priority": runs("keep", "()"),
        "limits": runs("keep", "()", limits=[500, 400], header="top"),
        "zipped": runs("keep", f"('{'x' * 500}',)"),
        "linked": runs("add", "(1, 2)"),
        "link": runs("keep", "(3,)", parent="linked", root="linked"),
        "spilt": runs("spill", "()"),
        "errback": runs("keep", "('mop',)", parent="spilt", root="spilt"),
        "chain-1": runs("add", "(1, 2)"),
        "chain-2": runs("add", "(3, 3)", parent="chain-1", root="chain-1"),
        "chain-3": runs("keep", "(6,)", "{'price': Decimal('10.10')}", parent="chain-2", root="chain-1"),
        "body": runs("total", "([10, 11, 12],)"),
        "stamped": runs("keep", "('stamped',)", stamps={"season": "spring", "lot": ["a", "b"]}),
        "fussy": runs("fussy", None, retries=1),
    }
    for number in range(3):
        found[f"group-{number}"] = runs("add", f"({number}, {number})")
        found[f"header-{number}"] = runs("add", f"({number}, 10)")
    return found


ENDS = {**dict.fromkeys(expected(""), "succeeded"), "spilt": "failed", "later": "pending"}
"""Where each task is when all have run that may."""


def differences(notes: dict[str, list[dict[str, Any]]], typed: str, sendings: int = 1) -> list[str]:
    """Where the *notes* are not what they should be after so many *sendings*. Golden rows hold a retry, not its try."""
    wrong: list[str] = []
    wanted = expected(typed)
    wrong += [f"{id} ran" for id in notes if id not in wanted]
    for id, should in wanted.items():
        ran = [run for run in notes.get(id, []) if run["retries"] or id != "fussy"]
        if len(ran) != sendings:
            wrong.append(f"{id} ran {len(ran)} times")
        wrong += [
            f"{id}: {name} is {run[name]!r}, not {value!r}"
            for run in ran
            for name, value in should.items()
            if value is not None and run[name] != value
        ]
    for kind in ("group", "header"):
        groups = {run["group"] for number in range(3) for run in notes.get(f"{kind}-{number}", [])}
        if len(groups) != sendings or None in groups:
            wrong.append(f"the groups are {groups}")
    return wrong
