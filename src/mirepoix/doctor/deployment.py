"""The rules about how workers and beat are started and stopped."""

from __future__ import annotations

from collections.abc import Iterator

from mirepoix.doctor.configuration import SMALLEST_CHILD_KB
from mirepoix.doctor.facts import Facts, Unit
from mirepoix.doctor.rules import Severity, rule

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
MOST_UNREAD = 20
"""How many files and folders are named that were not read."""


def _workers(facts: Facts) -> list[Unit]:
    return [unit for unit in facts.units if unit.is_worker]


def _of(unit: Unit) -> str:
    return f"{unit.path} ({unit.name})"


@rule(
    "MD401",
    WARNING,
    "a worker is killed before its longest task can end",
    "Give the supervisor a longer grace period than the longest time limit, or the task a shorter limit. With the "
    "ledger such a task runs again.",
)
def grace_period(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if facts.longest is not None and unit.stop_s is not None and unit.stop_s < facts.longest[0]:
            limit, name = facts.longest
            yield f"{_of(unit)}: SIGKILL after {unit.stop_s:g} s, and {name} may run {limit:g} s"


@rule(
    "MD402",
    ERROR,
    "a stop kills the tasks that it should wait for",
    "Send SIGTERM to the worker's main process only: KillMode=mixed in systemd, stopasgroup=false in supervisor.",
)
def signals_to_all(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if unit.kill_mode in ("control-group", "group"):
            yield f"{_of(unit)}: SIGTERM goes to the pool processes too"


@rule(
    "MD403",
    ERROR,
    "a worker that has died is not started again",
    "Set Restart=always in systemd, or autorestart=true in supervisor.",
)
def not_restarted(facts: Facts) -> Iterator[str]:
    for unit in facts.units:
        if (unit.is_worker or unit.is_beat) and unit.is_restarted is False:
            yield _of(unit)


@rule(
    "MD404",
    ERROR,
    "the signal to stop never reaches the worker",
    "Start it without a shell, as a list of words, or with exec: sh -c 'exec celery …'.",
)
def in_a_shell(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if unit.is_in_shell:
            yield f"{_of(unit)}: a shell is between the supervisor and {unit.words[0]}"


@rule("MD405", ERROR, "every schedule fires several times", "Run one beat only: replicas: 1, apart from the workers.")
def several_beats(facts: Facts) -> Iterator[str]:
    beats = [unit for unit in facts.units if unit.is_beat]
    for unit in beats:
        if unit.replicas > 1:
            yield f"{_of(unit)}: {unit.replicas} replicas run beat"
    same = {kind: [unit for unit in beats if unit.kind == kind] for kind in {unit.kind for unit in beats}}
    for units in same.values():
        if len(units) > 1:
            yield f"beat is started by {' and by '.join(map(_of, units))}"


@rule(
    "MD406",
    WARNING,
    "pool processes outlive a worker that was killed",
    "Set killasgroup=true in supervisor.",
)
def orphans(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if unit.kills_group is False:
            yield f"{_of(unit)}: SIGKILL goes to the main process only"


@rule(
    "MD407",
    INFO,
    "a worker that hangs is not replaced",
    "Add a livenessProbe that runs: mirepoix health --worker celery@$HOSTNAME",
)
def no_liveness(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if unit.has_liveness is False:
            yield _of(unit)


@rule(
    "MD408",
    ERROR,
    "pool processes are replaced after every task, by the command line",
    "--max-memory-per-child is in kilobytes: 200 MB are 200000.",
)
def memory_unit(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        text = unit.command.replace("=", " ").split()
        if "--max-memory-per-child" in text[:-1]:
            limit = text[text.index("--max-memory-per-child") + 1]
            if limit.isdigit() and int(limit) < SMALLEST_CHILD_KB:
                yield f"{_of(unit)}: --max-memory-per-child is {limit} kB"


@rule(
    "MD409",
    WARNING,
    "a broadcast of all workers' clocks and events costs more than it brings",
    "Add --without-mingle --without-gossip to workers in a large fleet.",
)
def gossip(facts: Facts) -> Iterator[str]:
    for unit in _workers(facts):
        if unit.replicas >= 20 and "--without-gossip" not in unit.words:  # noqa: PLR2004 (messages grow with its square)
            yield f"{_of(unit)}: {unit.replicas} replicas, each hears the heartbeats of all others"


@rule(
    "MD410",
    INFO,
    "a part of the deployment was not read",
    "Name the files and folders with your deployment, make them readable, or correct them.",
)
def unread(facts: Facts) -> Iterator[str]:
    yield from facts.unread[:MOST_UNREAD]
    if len(facts.unread) > MOST_UNREAD:
        yield f"{len(facts.unread) - MOST_UNREAD} more files and folders"
