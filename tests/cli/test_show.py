"""`mirepoix show`: everything about one task."""

from __future__ import annotations

import pytest

from mirepoix.ledger import chords, finish, keys
from mirepoix.records import AttemptFailure, Chord, Part


def test_the_story_has_facts_arguments_attempts_and_relatives(cli, ledger, ended):
    ledger.send("root")
    ended("failed", "abc123", parent_id="root", root_id="root")
    ledger.send("child", parent_id="abc123", root_id="root")
    told = cli("show", "abc1").stdout
    for part in ("shop.pay", "abc123", "failed: it went wrong", "[1]", '{"a": 2}', "ValueError: it went wrong"):
        assert part in told
    for part in ("Traceback: line 1", "ender@host", "process 7", "sent by", "root", "it sent", "child"):
        assert part in told
    assert "mirepoix retry abc123" in told


def test_json_tells_the_same(cli, ledger, ended):
    ledger.send("root")
    ended("failed", "a", parent_id="root", root_id="root")
    ledger.send("child", parent_id="a")
    told = cli.json("show", "a")
    assert told["arguments"] == [[1], {"a": 2}]
    assert told["parent"]["state"] == "pending"
    assert [child["id"] for child in told["children"]] == ["child"]
    (attempt,) = told["attempts"]
    assert (attempt["outcome"], attempt["error_type"], attempt["worker"]) == ("failed", "ValueError", "ender@host")


def test_a_member_of_a_chord_tells_how_far_that_has_come(cli, ledger):
    ledger.send("a", group_id="g")
    ledger.do(chords.begin, Chord("g", 2))
    assert "0 of 2 members have returned" in cli("show", "a").stdout
    ledger.do(chords.return_parts, [Part("g", one, None, "SUCCESS", "1") for one in "ab"])
    assert cli.json("show", "a")["chord"] == {"state": "waiting", "done": 2, "size": 2}
    ledger.do(chords.end, "g", is_success=True)
    assert "its body was sent" in cli("show", "a").stdout


def test_every_attempt_is_told_and_a_repeated_traceback_only_once(cli, ledger, ended):
    ledger.worker("w")
    ledger.send("a")
    for retries in (1, 2):
        lease = ledger.lease("w")
        ledger.start(lease)
        ledger.retry(lease, retries=retries)
    lease = ledger.lease("w")
    ledger.fail(lease)
    told = cli("show", "a")
    assert [one["outcome"] for one in cli.json("show", "a")["attempts"]] == ["retried", "retried", "failed"]
    assert told.stdout.count("Traceback: line 1") == 1
    assert told.stdout.count("same traceback") == 2


def test_what_is_not_known_of_a_beginning_is_called_not_known(cli, ledger):
    ledger.worker("w")
    ledger.send("a")
    ledger.lose(ledger.lease("w"))  # half a second after it began, as its parent saw
    ledger.worker("victim")
    ledger.lease("victim")
    ledger.die("victim")
    ledger.reap()
    told = cli("show", "a").stdout
    assert told.count("not known whether it began") == 1
    assert "never started" not in told
    ledger.do(finish.park, ledger.lease("w"), AttemptFailure("no code"))
    assert cli("show", "a").stdout.count("never started") == 1


@pytest.mark.parametrize("state", ["leased", "running", "succeeded", "failed", "quarantined", "parked"])
def test_every_state_can_be_told(cli, ended, state):
    ended(state, "a")
    assert state in cli("show", "a").stdout
    assert cli.json("show", "a")["state"] == state


def test_a_whole_id_wins_over_those_it_begins(cli, ledger):
    ledger.send("task-1", "task-12")
    assert cli.json("show", "task-1")["id"] == "task-1"
    assert cli.json("show", "task-12")["id"] == "task-12"


@pytest.mark.parametrize("prefix", ["f00ab", "f00abcd", "f00", "F00AB", "f0", "9", "99", "x'--"])
def test_a_prefix_means_what_begins_with_it_and_nothing_else(cli, ledger, prefix):
    known = ["f00abcd1", "f00b", "f01", "F00ABC", "995", "9a"]
    ledger.send(*known)
    begun = [task_id for task_id in known if task_id.startswith(prefix)]
    if len(begun) == 1:
        assert cli.json("show", prefix)["id"] == begun[0]
    else:
        said = cli("show", prefix, code=2).stderr
        assert ("Several tasks" if begun else "has no task") in said
        assert all(task_id in said for task_id in begun)


def test_an_unknown_id_is_one_line_with_a_remedy(cli):
    said = cli("show", "nope", code=2).stderr
    assert said == (
        "mirepoix: The ledger has no task 'nope': it was never sent, rolled back, or pruned. See: mirepoix tasks\n"
    )


def test_a_relative_that_was_pruned_is_still_named(cli, ledger):
    ledger.send("a", parent_id="long-gone", root_id="long-gone")
    told = cli("show", "a").stdout
    assert "long-gone" in told
    assert "not in the ledger" in told


def test_steps_are_told_but_not_what_they_returned_unless_it_is_asked_for(cli, ledger):
    from mirepoix.ledger import steps

    ledger.worker("w")
    ledger.send("a")
    ledger.do(steps.store, ledger.lease("w"), "charge-7", '{"card": "4242"}', 0.25)
    told = cli("show", "a").stdout
    assert "Steps" in told
    assert "charge-7" in told
    assert "took 0.25" in told
    assert "4242" not in told
    assert '{"card": "4242"}' in cli("show", "a", "--results").stdout
    (step,) = cli.json("show", "a")["steps"]
    assert (step["name"], step["fence"], step["run_time_s"], step["result"]) == ("charge-7", 1, 0.25, None)
    assert cli.json("show", "a", "--results")["steps"][0]["result"] == '{"card": "4242"}'


def test_a_task_is_found_by_its_key(cli, ledger):
    ledger.do(keys.claim, "charge/order-7", keys.Call("shop.pay", [], {}), "abc123")
    ledger.send("abc123")
    ledger.send("charge")
    shown = cli("show", "charge/order-7").stdout
    assert "abc123" in shown
    assert "key" in shown
    assert "charge/order-7" in shown
    assert cli.json("show", "abc123")["key"] == "charge/order-7"
    assert cli.json("show", "charge")["key"] is None
    assert "cancelled" in cli("cancel", "charge/order-7", "--yes").output
    assert ledger.states() == {"abc123": "cancelled", "charge": "pending"}
