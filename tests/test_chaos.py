"""What `benchmarks.chaos` calls wrong. The faults themselves need minutes, and are run by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.chaos_app import TABLES
from benchmarks.chaos_faults import FAULTS, LEASE_TTL_S, draws
from benchmarks.chaos_judge import judge, unfinished
from benchmarks.servers import Server

from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.ledger.migrate import migrate


@pytest.fixture
def scene(tmp_path: Path) -> SimpleNamespace:
    """A ledger nobody works on, worker 0 with the process 10, and no notes yet."""
    server = Server("sqlite", f"sqlite:///{tmp_path}/ledger.db")
    connection = source_for(server.url).open()
    migrate(connection)
    connection.close()
    server.execute(*TABLES)
    return SimpleNamespace(
        server=server,
        witness=tmp_path / "witness.txt",
        senders=[tmp_path / "sender.txt"],
        slots=[SimpleNamespace(number=0, hired=[(0.0, 10)])],
        deaths={},
        seen={},
        silences=[],
        ended=[],
    )


def row(server: Server, id: str, state: str, fence: int = 1) -> None:
    columns = "id, name, queue, state, fence, content_type, content_encoding, body_encoding, body, headers, properties"
    server.execute(
        f"INSERT INTO mirepoix_task ({columns}) VALUES ('{id}', 'plain', 'q', '{state}', {fence}, {'0,' * 5}0)"
    )


def found(scene: SimpleNamespace, sent: str, witness: str = "") -> tuple[dict, dict]:
    scene.senders[0].write_text("".join(f"{line.strip()} 1.0\n" for line in sent.split("\n")))
    scene.witness.write_text("".join(f"{line.strip()}\n" for line in witness.split("\n") if line.strip()))
    verdict = judge(scene, scene.senders)
    wrong = {kind: ids for kind, ids in verdict.wrong.items() if ids}
    assert verdict.is_clean == (not wrong)
    return wrong, dict(verdict.excused)


def test_what_was_committed_must_have_run(scene: SimpleNamespace) -> None:
    row(scene.server, "good", "succeeded")
    row(scene.server, "never-ran", "succeeded")
    row(scene.server, "waits", "running")
    row(scene.server, "gone-bad", "failed")
    wrong, _ = found(
        scene,
        "committed good,never-ran\nmeans waits,no-row\nunknown gone-bad Error\nmeans perhaps,not",
        "begin good 11 10 a 1.0\nend good 11 10 a 2.0",
    )
    assert wrong == {"lost": ["never-ran", "no-row"], "stuck": ["waits"], "failed": ["gone-bad=failed"]}
    assert unfinished(scene.server, scene.senders) == 2


def test_what_was_rolled_back_must_not_run_and_nothing_comes_from_nowhere(scene: SimpleNamespace) -> None:
    row(scene.server, "ghost", "succeeded")
    row(scene.server, "twice", "succeeded")
    wrong, _ = found(
        scene,
        "rolledback declined\ncommitted twice",
        """
        begin declined 11 10 a 1.0
        begin twice 11 10 b 3.0
        end twice 11 10 b 4.0
        begin twice 11 10 c 5.0
        end twice 11 10 c 6.0
        """,
    )
    assert wrong == {"rolled back": ["declined"], "unaccounted": ["ghost", "declined", "twice"]}


def test_effects_are_there_once_and_with_their_success(scene: SimpleNamespace) -> None:
    ids = ["1-transactional", "2-transactional", "1-transactional-child", "1-body", "2-body"]
    for id in ids:
        row(scene.server, id, "succeeded")
    scene.server.execute(
        "INSERT INTO chaos_effect VALUES ('1-transactional', '0'), ('1-transactional', '0'), "
        "('1-body', '4'), ('2-body', '3')"
    )
    ran = "\n".join(f"begin {id} 11 10 {id} 1.0\nend {id} 11 10 {id} 2.0" for id in ids)
    wrong, _ = found(scene, "committed 1-transactional,2-transactional,1-body,2-body", ran)
    assert wrong == {"doubled": ["1-transactional"], "missing": ["2-transactional"], "chords": ["2-body"]}


@pytest.mark.parametrize(
    ("first", "note", "is_wrong"),
    [
        ("begin id 11 10 a 1.0\nend id 11 10 a 30.0", {}, True),
        ("begin id 11 10 a 1.0\nend id 11 10 a 20.0", {}, False),
        ("begin id 11 10 a 1.0", {"seen": {11: 24.0}}, False),
        ("begin id 11 10 a 1.0", {"seen": {11: 25.5}}, True),
        ("begin id 11 10 a 1.0", {"seen": {11: 25.5}, "deaths": {11: [(24.9, "pool")]}}, False),
        ("begin id 11 10 a 1.0\nend id 11 10 a 30.0", {"silences": [(None, 5.0, 26.0)]}, True),
        ("begin id 11 10 a 1.0\nend id 11 10 a 30.0", {"silences": [(0, 16.0, 26.0), (None, 1.0, 16.0)]}, True),
    ],
)  # fmt: skip
def test_a_second_attempt_begins_when_the_first_is_over(
    scene: SimpleNamespace, first: str, note: dict, is_wrong: bool
) -> None:
    row(scene.server, "id", "succeeded", fence=2)
    vars(scene).update(note)
    wrong, excused = found(scene, "committed id", f"{first}\nbegin id 12 10 b 25.0\nend id 12 10 b 26.0")
    assert (list(wrong), list(excused)) == (["overlapping"] if is_wrong else [], [])


@pytest.mark.parametrize(
    ("silences", "began"),
    [
        ([(0, 5.0, 12.0), (0, 13.0, 40.0)], 1.0),
        ([(0, 14.0, 40.0)], 1.0),
        ([(0, 1.0, 18.0), (None, 18.0, 23.0)], 24.0),
    ],
)  # fmt: skip
def test_a_zombie_may_overlap_after_its_lease_ran_out(
    scene: SimpleNamespace, silences: list[tuple], began: float
) -> None:
    """The last one was taken before, and begins when the database can be written again."""
    row(scene.server, "id", "succeeded", fence=2)
    scene.silences = silences
    witness = f"begin id 11 10 a {began}\nend id 11 10 a 41.0\nbegin id 12 10 b 25.0\nend id 12 10 b 26.0"
    assert found(scene, "committed id", witness) == ({}, {"overlapping": [f"id 11@{began:.2f} 12@25.00"]})


def test_the_number_of_a_process_may_be_used_again(scene: SimpleNamespace) -> None:
    """By a worker in another place, and by a process that is killed later."""
    row(scene.server, "id", "succeeded", fence=2)
    scene.slots.insert(0, SimpleNamespace(number=1, hired=[(50.0, 10)]))
    scene.silences = [(0, 5.0, 26.0)]
    scene.deaths = {11: [(0.5, "pool"), (60.0, "pool")]}
    witness = "begin id 11 10 a 1.0\nend id 11 10 a 30.0\nbegin id 12 10 b 25.0\nend id 12 10 b 26.0"
    assert found(scene, "committed id", witness) == ({}, {"overlapping": ["id 11@1.00 12@25.00"]})


def test_a_quarantine_needs_three_kills_of_its_own_process(scene: SimpleNamespace) -> None:
    row(scene.server, "killed", "quarantined", fence=3)
    row(scene.server, "stopped", "quarantined", fence=3)
    killed = {"killed": (11, 12, 13), "stopped": (21, 22, 23)}
    scene.deaths = {pid: [(pid + 0.5, "pool" if pid < 20 else "stopped")] for pids in killed.values() for pid in pids}
    begun = [f"begin {id} {pid} 10 {pid} {pid}.0" for id, pids in killed.items() for pid in pids]
    wrong, excused = found(scene, "committed killed,stopped", "\n".join(begun))
    assert (wrong, excused) == ({"quarantined": ["stopped (0 killed)"]}, {"quarantined": ["killed (3 killed)"]})


def test_a_kill_counts_until_the_next_attempt_begins(scene: SimpleNamespace) -> None:
    """The code of the first had ended, and the database could not be written."""
    row(scene.server, "id", "quarantined", fence=3)
    scene.deaths = {pid: [(pid + 0.5, "worker")] for pid in (11, 12, 13)}
    ran = "begin id 11 10 a 11.0\nend id 11 10 a 11.2\nbegin id 12 10 b 12.0\nbegin id 13 10 c 13.0"
    assert found(scene, "committed id", ran) == ({}, {"quarantined": ["id (3 killed)"]})
    scene.deaths[11] = [(12.4, "worker")]
    assert found(scene, "committed id", ran) == ({"quarantined": ["id (2 killed)"]}, {})


def test_a_zombie_may_begin_when_it_wakes_up(scene: SimpleNamespace) -> None:
    row(scene.server, "id", "succeeded", fence=2)
    scene.silences = [(0, 1.0, 20.0)]
    witness = "begin id 12 11 a 15.0\nbegin id 11 10 b 20.1\nend id 12 11 a 21.0\nend id 11 10 b 22.0"
    assert found(scene, "committed id", witness) == ({}, {"overlapping": ["id 12@15.00 11@20.10"]})


def test_no_worker_ends_by_itself(scene: SimpleNamespace) -> None:
    scene.ended = ["w0 pid 10 code 1"]
    assert found(scene, "means id") == ({"ended": ["w0 pid 10 code 1"]}, {})


def test_a_seed_is_a_sequence_with_as_many_of_each_kind() -> None:
    first = list(draws(5, 2 * len(FAULTS), list(FAULTS)))
    assert first == list(draws(5, 2 * len(FAULTS), list(FAULTS)))
    assert first != list(draws(6, 2 * len(FAULTS), list(FAULTS)))
    assert sorted(one.kind for one in first) == sorted([*FAULTS, *FAULTS])


def test_the_lease_is_the_default_one() -> None:
    assert Settings().lease_ttl_s == LEASE_TTL_S
