"""`failures`: the causes, what is decided about them, and replays: a few first, at a pace, and taken back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fork_server
from driver import Ledger
from mirepoix.cli.failures import shortened
from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import finish
from mirepoix.records import AttemptFailure
from pace import DEADLINE_S


def trouble(cause: str = "price") -> AttemptFailure:
    """A failure by that cause."""
    text = (
        f'Traceback (most recent call last):\n  File "/srv/shop/orders.py", line 1, in {cause}\nValueError: no stock\n'
    )
    return AttemptFailure("ValueError: no stock", "builtins.ValueError", text, release="r1")


@pytest.fixture
def failed(ledger: Ledger) -> Callable[..., None]:
    """Lets tasks fail: ``failed("a", "b", cause="price")``."""
    ledger.worker("ender")

    def fail(*task_ids: str, cause: str = "price") -> None:
        ledger.send(*task_ids, priority=9)
        leases = [taken.lease for taken in ledger.take("ender", len(task_ids))]
        with ledger.connection.transaction() as tx:
            for lease in leases:
                assert finish.fail(tx, lease, trouble(cause))

    return fail


def only(cli: Any, *words: str) -> dict[str, Any]:
    """The only group that is listed."""
    (found,) = cli.json("failures", *words)["failures"]
    return found


def test_nothing_has_failed(cli):
    assert "Nothing has failed" in cli("failures").stderr


def test_the_list_has_a_line_for_each_cause_the_most_urgent_first(cli, failed):
    failed("a", cause="ship")
    failed("b", "c")
    lines = cli("failures").stdout.splitlines()
    assert lines[0].split() == ["id", "state", "attempts", "for", "good", "last", "task", "what"]
    assert [line.split()[1:4] for line in lines[1:]] == [["open", "2", "2"], ["open", "1", "1"]]
    assert all(len(line) <= 80 for line in lines)
    wide = cli("failures", columns=120).stdout.splitlines()
    assert wide[0].split() == [
        "id",
        "state",
        "attempts",
        "for",
        "good",
        "waits",
        "last",
        "since",
        "release",
        "task",
        "what",
    ]
    assert wide[1].endswith("r1       shop.pay  ValueError: no stock in shop.orders.pri…")
    assert all(len(line) <= 120 for line in wide)


def test_a_long_title_is_cut_in_its_message_not_in_its_place():
    title = f"ValueError: {'very ' * 30}long in shop.orders.price"
    assert shortened(title, 60) == f"{title[:38]}… in shop.orders.price"
    assert len(shortened(title, 60)) == 60
    assert shortened(title, 20) == f"{title[:19]}…"
    assert shortened("short", 20) == "short"


def test_what_was_decided_is_not_listed_unless_asked_for(cli, failed):
    failed("a")
    failed("b", cause="ship")
    price, ship = (one["id"] for one in sorted(cli.json("failures")["failures"], key=lambda one: one["title"]))
    cli("failures", "resolve", price[:6], "--note", "mended", "--by", "ann")
    cli("failures", "ignore", ship)
    said = cli("failures")
    assert "No failure waits for a decision" in said.stderr
    assert "not shown: 1 ignored, 1 resolved (--all)" in said.stdout
    assert len(cli.json("failures", "--all")["failures"]) == 2
    found = only(cli, "--state", "resolved")
    assert (found["decided_by"], found["note"]) == ("ann", "mended")


def test_a_regression_is_called_one(cli, failed):
    failed("a")
    cli("failures", "resolve", only(cli)["id"])
    failed("b")
    found = only(cli)
    assert found["status"] == "regressed"
    said = cli("failures", "show", found["id"]).stdout
    assert "regressed: it failed again in r1 after it was resolved" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--for", "2d"], "ignored for 2d"),
        (["--count", "3"], "ignored for 3 failures more"),
        (["--per-hour", "9", "--for", "1h"], "ignored for 1h, up to 9 an hour"),
        ([], "ignored for good"),
    ],
)
def test_ignoring_says_until_when(cli, failed, words, said):
    failed("a")
    group = only(cli)["id"]
    assert said in cli("failures", "ignore", group, *words).stdout
    assert "ignored" in cli("failures", "show", group).stdout
    cli("failures", "reopen", group)
    assert only(cli)["status"] == "open"


def test_show_tells_the_tasks_the_traceback_and_the_replays(cli, failed):
    failed("a", "b")
    group = only(cli)["id"]
    replay = cli.json("failures", "replay", group, "--limit", "1")
    said = cli("failures", "show", group).stdout
    for words in (
        "failed attempts 2, 2 of them within the hour",
        "in release r1",
        "in price",
        replay["replay"],
        "1 of 1 task replayed, done",
    ):
        assert words in " ".join(said.split()) or words in said
    assert cli.json("failures", "show", group)["group"]["kept"] == 1


def test_a_group_that_is_not_there_is_an_error(cli, failed):
    assert "no failure group 'abc'" in cli("failures", "show", "abc", code=2).stderr
    failed("a")
    failed("b", cause="ship")
    assert "Several groups begin with ''" in cli("failures", "show", "", code=2).stderr
    assert "no replay 'abc'" in cli("failures", "undo", "abc", code=2).stderr


def test_a_replay_runs_everything_again_and_can_be_undone(cli, failed, ledger):
    failed("a", "b", "c")
    failed("other", cause="ship")
    (group,) = (one["id"] for one in cli.json("failures")["failures"] if "price" in one["title"])
    assert "Would replay 3 tasks" in cli("failures", "replay", group, "--dry-run").stdout
    assert set(ledger.states().values()) == {"failed"}
    report = cli.json("failures", "replay", group, "--reason", "price is mended")
    assert (report["outcome"], report["replayed"]) == ("done", ["a", "b", "c"])
    assert ledger.row("a")["reason"] == "price is mended"
    ledger.succeed(ledger.lease("ender"))
    undone = cli.json("failures", "undo", report["replay"])
    assert (undone["taken_back"], undone["started"]) == (["b", "c"], ["a"])
    assert [one["verb"] for one in cli.json("show", "b")["decisions"]] == ["replay", "undo"]
    progress = cli.json("failures", "progress", report["replay"])
    assert (progress["tasks"], progress["became"]["taken back"]) == (3, 2)
    assert "3 tasks: 2 taken back, 1 " in cli("failures", "progress", report["replay"]).stdout
    assert ledger.states() == {"a": "succeeded", "b": "failed", "c": "failed", "other": "failed"}
    assert "taken back: 0 tasks" in cli("failures", "undo", report["replay"]).stdout
    assert "replayed: 2 tasks" in cli("failures", "replay", group).stdout


def test_nothing_kept_is_nothing_to_replay(cli, failed):
    failed("a")
    group = only(cli)["id"]
    cli("failures", "replay", group)
    assert "nothing to replay" in cli("failures", "replay", group).stdout


def worked(ledger: Ledger, take: int, end: Callable[[Any], Any]) -> threading.Thread:
    """Somebody who takes and ends tasks as they come, until so many are."""

    def work() -> None:
        done = 0
        with Ledger(ledger.source) as own:
            while done < take:
                for taken in own.take("ender", take):
                    end(own)(taken.lease)
                    done += 1
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_rest_follows_canaries_that_succeed(cli, failed, ledger):
    failed("a", "b", "c")
    worker = worked(ledger, 3, lambda own: own.succeed)
    said = cli("failures", "replay", only(cli)["id"], "--canary", "2")
    worker.join()
    assert "2 tasks replayed first" in said.stderr
    assert "replayed: 3 tasks" in said.stdout
    assert set(ledger.states().values()) == {"succeeded"}


def test_nothing_follows_a_canary_that_fails(cli, failed, ledger):
    failed("a", "b", "c")
    worker = worked(ledger, 1, lambda own: lambda lease: own.fail(lease, trouble()))
    report = cli.json("failures", "replay", only(cli)["id"], "--canary", "1", code=1)
    worker.join()
    assert (report["outcome"], report["replayed"], report["not_replayed"]) == ("a canary failed", ["a"], 2)
    assert [one["task_id"] for one in report["not_well"]] == ["a"]
    assert set(ledger.states().values()) == {"failed"}


def test_a_canary_that_nobody_runs_is_not_waited_for_for_ever(cli, failed, ledger):
    failed("a", "b")
    said = cli("failures", "replay", only(cli)["id"], "--canary", "1", "--wait", "1s", code=1).stdout
    assert "a canary did not end within 1s: 1 were not replayed" in said
    assert sorted(ledger.states().values()) == ["failed", "pending"]


def test_the_pace_is_bounded(cli, failed):
    failed(*(f"t{n}" for n in range(12)))
    began = time.monotonic()
    cli("failures", "replay", only(cli)["id"], "--rate", "20/s")
    assert time.monotonic() - began > 10 / 20  # two at a time, the first at once
    assert "is not a rate" in cli("failures", "replay", "x", "--rate", "fast", code=2).stderr


def test_ctrl_c_stops_a_replay_between_two_batches(cli, failed, ledger):
    failed(*(f"t{n:02}" for n in range(30)))
    group = only(cli)["id"]
    command = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()", "--ledger", cli.url]
    replay = subprocess.Popen(
        [*command, "failures", "replay", group, "--rate", "1/s", "--json"], stdout=subprocess.PIPE, text=True
    )
    while "pending" not in ledger.states().values():
        time.sleep(0.02)
    replay.send_signal(signal.SIGINT)
    report = json.loads(replay.communicate()[0])
    assert replay.returncode == 1
    assert report["outcome"] == "interrupted"
    assert len(report["replayed"]) == list(ledger.states().values()).count("pending") < 30
    (line,) = cli.json("failures", "show", group)["replays"]
    assert (line["outcome"], line["replayed"]) == ("interrupted", len(report["replayed"]))


@pytest.mark.parametrize(
    ("point", "waiting"), [(Crashpoint.OPERATE_BEFORE_COMMIT, 10), (Crashpoint.OPERATE_AFTER_COMMIT, 20)]
)
def test_a_replay_that_dies_leaves_whole_batches_and_each_task_is_replayed_once(cli, failed, ledger, point, waiting):
    failed(*(f"t{n:02}" for n in range(30)))
    group = only(cli)["id"]
    command = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()"]
    died = fork_server.run(
        [*command, "--ledger", cli.url, "failures", "replay", group, "--rate", "100/s"],
        Path.cwd(),
        {"MIREPOIX_CRASHPOINT": f"{point}:3"},  # the first noted that it begins
        timeout_s=DEADLINE_S,
    )
    assert died.returncode == -9
    assert list(ledger.states().values()).count("pending") == waiting
    (dead,) = cli.json("failures", "show", group)["replays"]
    assert (dead["replayed"], dead["outcome"]) == (waiting, None)
    cli("failures", "replay", group, "--rate", "1000/s")
    assert ledger.query("SELECT count(*), count(DISTINCT task_id) FROM mirepoix_replayed") == [(30, 30)]
    assert len(cli.json("failures", "undo", dead["id"])["taken_back"]) == waiting
