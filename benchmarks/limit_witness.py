"""What the database saw of each task, and whether limits held: the witness and the judge of `benchmarks.limit_runs`.

Triggers write a line for each change of a task's state, in the transaction that changes it, with the database's clock.
The judge reads these lines in their order, and no table and no code of the product. It knows the rules from the seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mirepoix.connect.source import OwnConnection

HELD = frozenset(("leased", "running"))
OPEN = HELD | {"pending", "parked"}
FREED_IN_S = 1.0
"""A dead worker's slots are free so soon."""
COMMIT_S = 1.0
"""A change counts for others after its commit, at most so long after its line."""
CLOCK_S = 0.002
"""How exactly the database's clock is read: SQLite's has milliseconds."""

_COLUMNS = "task_id, limit_key, was, state, generation, losses, worker_id, at"

_CHANGE = f"""INSERT INTO witness ({_COLUMNS})
    SELECT {{n}}id, {{n}}limit_key, {{o}}state, {{n}}state, {{n}}generation, {{n}}deaths + {{n}}handovers,
           CASE WHEN {{o}}state IN ('leased', 'running') THEN {{o}}worker_id ELSE {{n}}worker_id END, {{clock}}"""
_TABLE = """CREATE TABLE witness (seq {serial}, task_id varchar(255), limit_key varchar(255), was varchar(20),
    state varchar(20), generation int, losses int, worker_id varchar(255), at {double})"""
_CLOCKS = {
    "postgresql": "extract(epoch FROM clock_timestamp())",
    "mysql": "UNIX_TIMESTAMP(SYSDATE(6))",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}


def statements(dialect: str) -> list[str]:
    """What lets a database write the lines."""
    clock = _CLOCKS[dialect]
    change = _CHANGE.replace("{clock}", clock)
    if dialect == "postgresql":
        sent = change.format(n="n.", o="n.").replace("n.state, n.state", "'', n.state", 1) + " FROM n"
        moved = change.format(n="n.", o="o.") + " FROM n JOIN o ON o.id = n.id WHERE o.state <> n.state"
        body = "CREATE FUNCTION {} RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {}; RETURN NULL; END$$"
        trigger = "CREATE TRIGGER {} ON mirepoix_task REFERENCING {} FOR EACH STATEMENT EXECUTE FUNCTION {}"
        return [
            _TABLE.format(serial="bigserial PRIMARY KEY", double="double precision"),
            body.format("witness_sent()", sent),
            body.format("witness_moved()", moved),
            trigger.format("witness_sent AFTER INSERT", "NEW TABLE AS n", "witness_sent()"),
            trigger.format("witness_moved AFTER UPDATE", "NEW TABLE AS n OLD TABLE AS o", "witness_moved()"),
        ]
    serial = "integer PRIMARY KEY AUTOINCREMENT" if dialect == "sqlite" else "bigint PRIMARY KEY AUTO_INCREMENT"
    sent = change.format(n="NEW.", o="NEW.").replace("NEW.state, NEW.state", "'', NEW.state", 1)
    moved = change.format(n="NEW.", o="OLD.") + (" FROM dual" if dialect == "mysql" else "")
    moved += " WHERE OLD.state <> NEW.state"
    body = "CREATE TRIGGER {} ON mirepoix_task FOR EACH ROW " + ("BEGIN {}; END" if dialect == "sqlite" else "{}")
    return [
        _TABLE.format(serial=serial, double="double"),
        body.format("witness_sent AFTER INSERT", sent),
        body.format("witness_moved AFTER UPDATE", moved),
    ]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the judge knows of a limit: its numbers, and what a call does if it has no room."""

    running: int | None = None
    rate: int | None = None
    period_s: float = 0.0
    is_weighted: bool = False
    action: str = "wait"


@dataclass
class Report:
    """What the judge found. What must be 0 is in `faults`."""

    runs: int = 0
    """How many leases workers got."""
    tasks: int = 0
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    deaths: int = 0
    """How many workers died that held tasks."""
    freed: list[float] = field(default_factory=list)
    """How long after each of these deaths the last of its tasks was taken back."""
    keys: int = 0
    full: int = 0
    """How often a key reached its limit."""
    windows: int = 0
    """How many windows of rates were full."""
    conflicts: int = 0
    """How many calls of unique tasks got the id of another call."""
    fair: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def fault(self, what: str, detail: str) -> None:
        self.faults[what] += 1
        if self.faults[what] <= 3:
            self.examples.append(f"{what}: {detail}")

    @property
    def unfair(self) -> float:
        """The largest difference of a key from the mean, as a part of the mean."""
        mean = sum(self.fair.values()) / max(1, len(self.fair))
        return max((abs(count - mean) / mean for count in self.fair.values()), default=0.0)


def install(connection: OwnConnection) -> None:
    """Let the database write the lines."""
    with connection.transaction() as tx:
        for statement in statements(tx.dialect):
            tx.script(statement)


def lines(connection: OwnConnection, at_once: int = 50_000) -> Iterator[Any]:
    """The lines in their order."""
    after = 0
    while True:
        with connection.reading() as tx:
            rows = tx.query(
                f"SELECT seq, {_COLUMNS} FROM witness WHERE seq > :after ORDER BY seq LIMIT :most",
                after=after,
                most=at_once,
            )
        yield from rows
        if len(rows) < at_once:
            return
        after = rows[-1].seq


class Judge:
    """Reads the lines, and says what must not be."""

    def __init__(self, rules: Mapping[str, Rule], notes: list[list[str]], fair_runs: int) -> None:
        self.rules, self.notes, self.fair_runs = rules, notes, fair_runs
        self.report = Report()
        self._died = {words[1]: float(words[2]) for words in notes if words[0] == "died"}
        self._state: dict[str, str] = {}
        self._holder: dict[str, str] = {}
        self._held: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        self._sending: dict[str, str] = {}
        self._open_of_unique: dict[str, set[str]] = defaultdict(set)
        self._starts: dict[str, list[list[Any]]] = defaultdict(list)
        self._start_of: dict[str, list[Any]] = {}
        self._losses: dict[str, tuple[int, int]] = {}
        self._ended_at: dict[str, float] = {}
        self._lately_ended: dict[str, list[float]] = defaultdict(list)
        self._freed: dict[str, float] = {}

    def judge(self, found: Iterator[Any]) -> Report:
        for line in found:
            self._read(line)
        report = self.report
        report.tasks, report.keys = len(self._state), len(self._open)
        report.states.update(self._state.values())
        for task_id, state in self._state.items():
            if state in OPEN:
                report.fault("not ended", f"{task_id} is {state}")
        report.deaths, report.freed = len(self._freed), list(self._freed.values())
        for key, starts in self._starts.items():
            self._judge_rate(key, self.rules[key.partition(":")[0]], [(at, n) for at, n in starts if at is not None])
        self._judge_conflicts()
        return report

    def _read(self, line: Any) -> None:
        task_id, key, state, at = line.task_id, line.limit_key, line.state, float(line.at)
        if self._state.get(task_id, "") != line.was:
            self.report.fault("lines out of order", f"{task_id}: {self._state.get(task_id)} and then {line.was}")
        self._state[task_id] = state
        rule = self.rules.get(key.partition(":")[0]) if key else None
        if line.was == "":
            self._sent(task_id, key, rule)
        if line.was in HELD and state not in HELD:
            self._freed_by(line, at)
        if line.was == "pending" and state in HELD:
            self.report.runs += 1
            self._taken(line, rule, at)
        if state not in OPEN:
            self._ended(line, rule, at)
        self._losses[task_id] = (line.generation, line.losses)

    def _sent(self, task_id: str, key: str | None, rule: Rule | None) -> None:
        if key:
            sending = task_id.split(".")[1]
            if rule is not None and rule.running is not None and rule.action != "wait":
                most = rule.running + (rule.action == "cancel")  # the last call waits
                if self._sending.get(key) != sending and self._open[key] > most:
                    self.report.fault("calls above their limit", f"{key}: {self._open[key]} were left of {most}")
            self._sending[key] = sending
            self._open[key] += 1
        if task_id.startswith("unique/"):
            others = self._open_of_unique[task_id.split("/")[1]]
            others.add(task_id)
            if len(others) > 1:
                self.report.fault("unique", f"{sorted(others)} were there at once")

    def _taken(self, line: Any, rule: Rule | None, at: float) -> None:
        key = line.limit_key
        self._holder[line.task_id] = line.worker_id
        if not key:
            return
        self._held[key] += 1
        if rule is None:
            return
        if rule.running is not None:
            self.report.full += self._held[key] == rule.running
            if self._held[key] > rule.running:
                self.report.fault("too many", f"{key} had {self._held[key]} of {rule.running} at {at:.3f}")
        weight = min(int(line.task_id.rpartition("w")[2]), rule.rate or 0) if rule.is_weighted else 1
        start = [at, weight]
        if rule.rate is not None:
            self._starts[key].append(start)
        self._start_of[line.task_id] = start
        if key.startswith("fair:") and sum(self.report.fair.values()) < self.fair_runs:
            self.report.fair[key] += 1

    def _freed_by(self, line: Any, at: float) -> None:
        if line.limit_key:
            self._held[line.limit_key] -= 1
        holder = self._holder.pop(line.task_id)
        died_at = self._died.get(holder)
        if died_at is not None and at > died_at:
            self._freed[holder] = max(self._freed.get(holder, 0.0), at - died_at)
            if at - died_at > FREED_IN_S:
                self.report.fault("slot held", f"{line.task_id} for {at - died_at:.2f} s after {holder} died")
        is_given_back = line.state == "pending" and self._losses[line.task_id] == (line.generation, line.losses)
        if is_given_back and line.was == "leased" and line.task_id in self._start_of:
            self._start_of[line.task_id][0] = None  # it has not begun

    def _ended(self, line: Any, rule: Rule | None, at: float) -> None:
        task_id, key = line.task_id, line.limit_key
        self._ended_at[task_id] = at
        if task_id.startswith("unique/"):
            self._open_of_unique[task_id.split("/")[1]].discard(task_id)
        if not key:
            return
        self._open[key] -= 1
        if rule is None or rule.action == "wait" or rule.running is None:
            return
        ended = self._lately_ended[key]
        if line.was != "pending":
            ended.append(at)
            return
        # It was dropped or cancelled. The calls that were there then, with those that had not committed their end.
        there = self._open[key] + sum(at - before < COMMIT_S for before in ended)
        if there < rule.running:
            self.report.fault("ended below its limit", f"{task_id}: {there} of {rule.running} were there")

    def _judge_rate(self, key: str, rule: Rule, starts: list[tuple[float, int]]) -> None:
        assert rule.rate is not None
        first, total = 0, 0
        for at, weight in sorted(starts):
            total += weight
            while at - starts[first][0] >= rule.period_s - CLOCK_S:
                total -= starts[first][1]
                first += 1
            self.report.windows += total == rule.rate
            if total > rule.rate:
                self.report.fault("over the rate", f"{key}: {total} of {rule.rate} in {rule.period_s} s to {at:.3f}")

    def _judge_conflicts(self) -> None:
        for _, own, returned, began in (words for words in self.notes if words[0] == "unique"):
            self.report.conflicts += own != returned
            if returned not in self._state:
                self.report.fault("unique call lost", f"{own} got {returned}, which is not there")
            elif own != returned and self._ended_at.get(returned, float("inf")) < float(began) - COMMIT_S:
                self.report.fault("unique call lost", f"{own} got {returned}, which had ended before")
