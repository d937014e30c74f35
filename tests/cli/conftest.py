"""Run the command line on a ledger of the tests' own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

from driver import Ledger
from mirepoix.cli.main import mirepoix


@dataclass
class Cli:
    """``mirepoix --ledger URL …``, or ``celery -A APP mirepoix …`` of *app*; 80 columns, no terminal."""

    url: str
    app: Celery | None = None

    def __call__(self, *words: str, code: int = 0, answer: str | None = None, columns: int = 80) -> Result:
        """Run it; fail unless it ends with *code*, and never accept a traceback."""
        named = ["--ledger", self.url] if self.app is None else []
        result = CliRunner().invoke(
            mirepoix,
            [*named, *words],
            input=answer,
            env={"COLUMNS": str(columns), "MIREPOIX_APP": None},
            obj=None if self.app is None else SimpleNamespace(app=self.app),  # what Celery hands to its commands
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "Traceback (most recent call last)" not in result.stderr
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        """What it prints for programs."""
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def cli(ledger_url: str) -> Cli:
    """The command line on the test's ledger."""
    return Cli(ledger_url)


@pytest.fixture
def cli_of(ledger_url: str) -> Callable[[Celery], Cli]:
    """Makes the command line of an app: ``cli_of(app)``."""
    return lambda app: Cli(ledger_url, app)


@pytest.fixture
def ended(ledger: Ledger) -> Callable[..., str]:
    """Brings a task to a state: ``ended("failed", "t1")``."""
    ledger.worker("ender")

    def bring(state: str, task_id: str, **fields: Any) -> str:
        ledger.send(task_id, **{"priority": 9, **fields})
        lease = ledger.take("ender", 1, queues=(fields.get("queue", "celery"),))[0].lease
        assert lease.task_id == task_id
        if state != "leased":
            ledger.start(lease)
        _END[state](ledger, lease)
        assert ledger.state(task_id) == state
        return task_id

    return bring


def _quarantine(ledger: Ledger, lease: Any) -> None:
    ledger.write(f"UPDATE mirepoix_task SET deaths = 2 WHERE id = '{lease.task_id}'")
    ledger.lose(lease)


def _park(ledger: Ledger, lease: Any) -> None:
    from mirepoix.ledger import finish
    from mirepoix.records import AttemptFailure

    ledger.do(finish.park, lease, AttemptFailure("no such task here"))


_END: dict[str, Callable[[Ledger, Any], Any]] = {
    "leased": lambda ledger, lease: None,
    "running": lambda ledger, lease: None,
    "succeeded": lambda ledger, lease: ledger.succeed(lease),
    "failed": lambda ledger, lease: ledger.fail(lease),
    "quarantined": _quarantine,
    "parked": _park,
}
