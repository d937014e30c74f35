"""Whatever happens in whatever order: the promises of the ledger, tried on random histories by hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from driver import OOPS, Ledger, envelope, rolled_back
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.ledger import enqueue, finish, operate
from mirepoix.records import Completion, Lease
from mirepoix.states import HELD, TRANSITIONS, State

TASKS = ("a", "b")
WORKERS = ("w1", "w2")
REACHABLE = {(source, t.target) for t in TRANSITIONS for source in t.sources}

tasks = st.sampled_from(TASKS)
names = st.sampled_from(WORKERS)
which = st.integers(0, 1_000)


def machine(source: Source) -> type[RuleBasedStateMachine]:  # noqa: C901
    """The histories on one database."""

    class AnyOrder(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.ledger = Ledger(source, Settings(max_deaths=2, max_handovers=3))
            for table in ("mirepoix_attempt", "mirepoix_task", "mirepoix_worker"):
                self.ledger.write(f"DELETE FROM {table}")
            self.incarnations = dict.fromkeys(WORKERS, 0)
            for name in WORKERS:
                self.ledger.worker(f"{name}.0")
            self.leases: list[Lease] = []  # every lease there ever was: zombies report too
            self.before: dict[str, tuple[State, int, int]] = {}
            self.successes: set[tuple[str, int]] = set()

        def teardown(self) -> None:
            self.ledger.__exit__()

        def worker_id(self, name: str) -> str:
            return f"{name}.{self.incarnations[name]}"

        def holds(self, lease: Lease) -> bool:
            """By the history so far, as the invariant last saw it."""
            state, fence, _ = self.before.get(lease.task_id, (None, 0, 0))
            return state in HELD and fence == lease.fence

        def report(self, number: int, outcome) -> None:
            """Let some attempt, alive or lost, report: only the one that holds its task may be believed."""
            if self.leases:
                lease = self.leases[number % len(self.leases)]
                believed = bool(outcome(lease))
                assert believed == self.holds(lease)

        @rule(task=tasks)
        def enqueue(self, task: str) -> None:
            self.ledger.send(task)

        @rule(name=names, batch=st.integers(1, 2))
        def take(self, name: str, batch: int) -> None:
            for taken in self.ledger.take(self.worker_id(name), batch):
                state, fence, _ = self.before[taken.lease.task_id]
                assert (state, taken.lease.fence) == ("pending", fence + 1)
                self.leases.append(taken.lease)

        @rule(number=which)
        def start(self, number: int) -> None:
            if self.leases:
                lease = self.leases[number % len(self.leases)]
                is_noted = bool(self.ledger.start(lease))
                assert is_noted == (self.holds(lease) and self.before[lease.task_id][0] == "leased")

        @rule(number=which)
        def succeed(self, number: int) -> None:
            def outcome(lease: Lease) -> bool:
                if not self.ledger.succeed(lease):
                    return False
                attempt = (lease.task_id, self.before[lease.task_id][2])
                assert attempt not in self.successes, "a second success in one generation"
                self.successes.add(attempt)
                return True

            self.report(number, outcome)

        @rule(number=which)
        def succeed_with_a_continuation(self, number: int) -> None:
            def outcome(lease: Lease) -> bool:
                return self.ledger.do(finish.succeed_with, Completion(lease), [envelope("b")])

            self.report(number, outcome)

        @rule(number=which)
        def fail(self, number: int) -> None:
            self.report(number, self.ledger.fail)

        @rule(number=which)
        def retry(self, number: int) -> None:
            self.report(number, self.ledger.retry)

        @rule(number=which)
        def park(self, number: int) -> None:
            self.report(number, lambda lease: self.ledger.do(finish.park, lease, OOPS))

        @rule(number=which, is_blamed=st.booleans())
        def lose(self, number: int, is_blamed: bool) -> None:
            self.report(number, lambda lease: self.ledger.lose(lease, is_blamed=is_blamed))

        @rule(number=which)
        def give_back_one(self, number: int) -> None:
            self.report(number, lambda lease: self.ledger.give_back(lease.worker_id, [lease]))

        @rule(name=names)
        def give_back_all(self, name: str) -> None:
            self.ledger.give_back(self.worker_id(name))

        @rule(name=names, is_replaced=st.booleans())
        def die(self, name: str, is_replaced: bool) -> None:
            self.ledger.die(self.worker_id(name))
            if is_replaced:
                self.incarnations[name] += 1
                self.ledger.worker(self.worker_id(name))

        @rule()
        def reap(self) -> None:
            for lost in self.ledger.reap():
                state, fence, _ = self.before[lost.task_id]
                assert state in HELD
                assert (fence, lost.was_started) == (lost.fence, state == "running")

        @rule(task=tasks)
        def cancel(self, task: str) -> None:
            self.ledger.cancel(task)

        @rule(task=tasks)
        def requeue(self, task: str) -> None:
            self.ledger.requeue(task)

        @rule(task=tasks)
        def discard(self, task: str) -> None:
            self.ledger.do(operate.discard, [task])

        @rule(task=tasks)
        def roll_back_an_enqueue(self, task: str) -> None:
            with rolled_back(self.ledger.connection) as tx:
                enqueue.add(tx, [envelope(task)])

        @invariant()
        def what_was_promised_holds(self) -> None:
            rows = self.ledger.query(
                "SELECT id, state, fence, generation, worker_id, deaths, handovers FROM mirepoix_task"
            )
            now = {row[0]: (State(row[1]), row[2], row[3]) for row in rows}
            assert set(self.before) <= set(now), "a task vanished"
            for task_id, (state, fence, generation) in now.items():
                old_state, old_fence, old_generation = self.before.get(task_id, (None, 0, 0))
                assert fence >= old_fence, "the fence fell"
                assert generation >= old_generation, "the generation fell"
                # One step may be two transitions: a continuation re-arms the very task that just succeeded.
                assert (
                    (old_state, fence, generation) == (state, old_fence, old_generation)
                    or (old_state, state) in REACHABLE
                    or (old_state in HELD and state == "pending" and generation > old_generation)
                ), f"{task_id}: {old_state} -> {state}"
            for task_id, state, fence, _, worker_id, deaths, handovers in rows:
                if state in HELD:
                    assert Lease(task_id, fence, worker_id) in self.leases, "held without a lease"
                assert deaths <= 2
                assert handovers <= 3
                assert state == "quarantined" or (deaths < 2 and handovers < 3)
            self.before = now

    return AnyOrder


def test_the_promises_hold_in_any_order(source: Source):
    is_default = settings.default is not None and settings.default.derandomize  # the same examples in every such run
    run_state_machine_as_test(
        machine(source),
        settings=settings(
            max_examples=20 if is_default else 200,
            stateful_step_count=40,
            deadline=None,
            derandomize=is_default,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
