"""The workflow of a task from its root, and the chords that wait."""

from __future__ import annotations

from driver import envelope
from mirepoix.ledger import chords as ledger_chords
from mirepoix.ledger import enqueue
from mirepoix.ledger.query import chords
from mirepoix.ledger.query.workflow import workflow
from mirepoix.operations.chords import why_it_waits
from mirepoix.records import Chord, Part


def sent_by(ledger, parent, *ids, **more):
    ledger.do(enqueue.add, [envelope(id, parent_id=parent, root_id="root", **more) for id in ids])


def ids(found):
    return [node.id for node in found.nodes]


def test_a_workflow_is_read_from_its_root(ledger):
    ledger.send("root", "alone")
    sent_by(ledger, "root", "a", "b", "c")
    sent_by(ledger, "b", "b1")
    sent_by(ledger, "b1", "b2")
    found = ledger.do(workflow, "b1")
    assert ids(found) == ["root", "a", "b", "c", "b1", "b2"]
    assert [node.parent_id for node in found.nodes] == [None, "root", "root", "root", "b", "b1"]
    assert ids(ledger.do(workflow, "alone")) == ["alone"]
    assert ids(ledger.do(workflow, "no-such-task")) == []
    ledger.write("DELETE FROM mirepoix_task WHERE id = 'b'")
    assert ids(ledger.do(workflow, "b2")) == ["b1", "b2"]


def test_a_workflow_is_cut_and_still_has_the_task_and_those_above_it(ledger):
    ledger.send("root")
    sent_by(ledger, "root", *(f"m{n:03}" for n in range(150)))
    sent_by(ledger, "m149", "last")
    found = ledger.do(workflow, "last", 20)
    assert found.is_cut
    assert len(found.nodes) == 20
    assert {"root", "m000", "m149", "last"} <= set(ids(found))
    whole = ledger.do(workflow, "root")
    assert (len(whole.nodes), whole.is_cut) == (152, False)


def test_a_task_that_is_its_own_parent_ends_the_search(ledger):
    ledger.send("loop", parent_id="loop")
    ledger.send("one", parent_id="two")
    ledger.send("two", parent_id="one")
    assert ids(ledger.do(workflow, "loop")) == ["loop"]
    found = ids(ledger.do(workflow, "one"))
    assert sorted(found) == ["one", "two"]


def test_a_waiting_chord_names_the_members_that_have_not_returned(ledger):
    ledger.worker("w1")
    ledger.do(ledger_chords.begin, Chord("g", 5))
    ledger.do(ledger_chords.begin, Chord("ended", 1))
    ledger.do(ledger_chords.end, "ended", is_success=True)
    sent_by(ledger, None, "m1", "m2", "m3", "m4", group_id="g")
    sent_by(ledger, None, "other", group_id="ended")
    leases = {taken.lease.task_id: taken.lease for taken in ledger.take("w1")}
    ledger.succeed(leases["m1"])
    ledger.do(ledger_chords.return_parts, [Part("g", "m1", 0, "SUCCESS", "1", {})])
    ledger.start(leases["m2"])
    ledger.write("UPDATE mirepoix_task SET state = 'quarantined', finished_at = created_at WHERE id = 'm3'")
    (waits,) = ledger.do(chords.waiting, 9)
    assert (waits.group_id, waits.size, waits.done) == ("g", 5, 1)
    members = ledger.do(chords.unreturned, ["g"], 9)["g"]
    assert {line.id: line.state.value for line in members} == {"m2": "running", "m3": "quarantined", "m4": "leased"}
    assert [(one.task_id, one.state.value) for one in ledger.do(chords.returned, "g", 9)] == [("m1", "succeeded")]
    judged = why_it_waits(waits, members, {"celery"})
    assert (judged.is_stuck, judged.unknown) == (True, 1)
    assert "1 quarantined" in judged.answer
    moving = [line for line in members if line.id != "m3"]
    assert why_it_waits(waits, moving, {"celery"}).answer == "Its members go on: 2 with workers."
    assert ledger.do(chords.chord, "ended").state == "fired"
    assert ledger.do(chords.chord, "none") is None
    assert ledger.do(chords.unreturned, [], 9) == {}
