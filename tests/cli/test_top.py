"""`mirepoix top`: a screen that stays, one frame for a pipe, and the progress of long commands."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from celery import Celery
from click.testing import CliRunner

from cable import Cable
from mirepoix import install
from mirepoix.cli.main import mirepoix
from mirepoix.cli.watch import REST, Watch
from mirepoix.connect.url import source_for
from mirepoix.operations.health import by_name
from pace import DEADLINE_S, until

LONG = "shop.orders.tasks.confirm.send_order_confirmation_email"


@pytest.fixture
def busy(ledger, ended):
    """Two tasks wait, one runs, one succeeded and one failed."""
    ledger.worker("w")
    ended("succeeded", "good")
    ended("failed", "bad", name=LONG)
    ended("running", "at-work", name=LONG, queue="reports")
    ledger.send("first", "second", queue="mail")
    return ledger


def test_a_frame_has_the_verdict_and_all_lists(cli, busy):
    shown = cli("top", "--once", columns=160).stdout
    assert "ACT NOW" in shown
    assert "no consumer for queue 'mail'" in shown
    assert "Start a worker for queue 'mail'" in shown
    for words in ("1 succeeded", "1 failed for good", "never", "at-work", "ender"):
        assert words in shown
    assert re.search(rf"0s +{re.escape(LONG)} +at-work +reports", shown)
    assert not re.search(r"\x1b", shown)


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_a_frame_fits_the_screen(cli, busy, columns):
    shown = cli("top", columns=columns).stdout.splitlines()
    lists = [line for line in shown[1:] if not line.startswith("!")]  # findings are sentences
    assert max(map(len, lists)) <= columns
    assert any("confirmation_email" in line and "at-work" in line for line in shown)


def test_a_program_reads_rates_in_and_out(cli, busy):
    seen = cli.json("top")
    paces = {one["load"]["queue"]: one for one in seen["queues"]}
    span_s = seen["pace_span_s"]
    assert paces["mail"]["rate_in"] == pytest.approx(2 / span_s, abs=0.001)
    assert paces["mail"]["rate_out"] == 0.0
    assert paces["celery"]["rate_in"] == pytest.approx(2 / span_s, abs=0.001)
    assert paces["celery"]["rate_out"] == pytest.approx(2 / span_s, abs=0.001)  # one succeeded, one failed for good
    assert [one["id"] for one in seen["running"]] == ["at-work"]
    assert [one["kept"] for one in seen["causes"]] == [1]


def test_what_came_long_ago_is_no_arrival_and_a_task_arrives_when_its_eta_comes(cli, ledger):
    ledger.send("old")
    ledger.passes(1_000)
    ledger.send("later", eta="2999-01-01T00:00:00+00:00")
    ledger.send("came", eta="2999-01-01T00:00:00+00:00")
    now = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')", "mysql": "UTC_TIMESTAMP(6)", "postgresql": "now()"}
    moment = now[ledger.source.dialect]
    ledger.passes(1_000)
    ledger.write(f"UPDATE mirepoix_task SET eta = {moment}, due_at = {moment} WHERE id = 'came'")
    (queue,) = cli.json("top")["queues"]
    assert queue["rate_in"] == pytest.approx(1 / 300, abs=0.0005)
    assert queue["load"]["waiting"] == 2


def test_a_queue_beyond_its_objective_is_said(cli_of, ledger, ledger_url):
    app = Celery("shop", set_as_current=False)
    install(app, ledger_url, queue_objectives_s={"celery": 5, "*": 3_600})
    ledger.send("late")
    ledger.passes(10)
    (queue,) = cli_of(app).json("top")["queues"]
    assert queue["objective_s"] == 5
    assert queue["empty_in_s"] is None


def test_a_name_has_one_line_with_its_deaths(ledger):
    from mirepoix.ledger.query.health import workers

    for number in range(3):
        ledger.worker(f"w{number}")
        ledger.write(f"UPDATE mirepoix_worker SET name = 'celery@web' WHERE id = 'w{number}'")
    ledger.die("w0")
    ledger.die("w1")
    ledger.worker("other")
    ledger.die("other")
    lines = [(line.worker.id, line.deaths) for line in by_name(ledger.do(workers))]
    assert lines == [("other", 1), ("w2", 2)]


def test_the_watch_says_that_the_ledger_is_away_and_goes_on_when_it_is_back(served):
    with Cable(served.url) as cable:
        source = source_for(cable.url)
        watch = Watch(lambda: source.open(0.5), source.errors, 60.0, 0.01)
        watch.start()
        try:
            before = until(lambda: watch.latest.seen, "the ledger was read")
            assert watch.latest.pause_s >= max(0.01, REST * before.took_s)
            cable.cut()
            until(lambda: watch.latest.trouble, "the ledger is away")
            assert watch.latest.seen.at >= before.at
            assert watch.latest.away_since is not None
            cable.mend()
            until(lambda: watch.latest.trouble is None, "the ledger is back")
            assert watch.latest.away_since is None
        finally:
            watch.stop()
            source.close()


def test_the_screen_follows_the_ledger_and_q_leaves_it(sqlite_url, tmp_path):
    from driver import Ledger

    with Terminal("--ledger", sqlite_url, "top", "--interval", "1s") as terminal:
        terminal.until_it_shows("No queue has tasks or a worker.")
        with Ledger(source_for(sqlite_url)) as ledger:
            ledger.send("t1", queue="mailing")
        terminal.until_it_shows("no consumer for queue 'mailing'")
        terminal.types(" ")
        terminal.until_it_shows("held")
        terminal.types("3")
        terminal.types("q")
        assert terminal.ends() == 0
        assert "\x1b[?1049l" in terminal.text  # the screen of before is back


def test_a_long_command_shows_a_bar_on_a_terminal_only(sqlite_url, ledger_of_failures):
    words = ("--ledger", sqlite_url, "retry", "--state", "failed", "--yes")
    piped = CliRunner().invoke(mirepoix, words)
    assert piped.stderr == ""
    assert "retried: 3 tasks" in piped.stdout or "3 tasks" in piped.stdout
    ledger_of_failures()
    with Terminal(*words) as terminal:
        assert terminal.ends() == 0
        assert "3/3" in terminal.text


@pytest.fixture
def ledger_of_failures(sqlite_url):
    from driver import Ledger

    def fill():
        with Ledger(source_for(sqlite_url)) as ledger:
            ledger.write("DELETE FROM mirepoix_task")
            ledger.worker(f"w{time.monotonic()}")
            ledger.send("a", "b", "c")
            worker = ledger.query("SELECT id FROM mirepoix_worker LIMIT 1")[0][0]
            for taken in ledger.take(worker):
                ledger.start(taken.lease)
                ledger.fail(taken.lease)

    fill()
    return fill


class Terminal:
    """The command line as a process on a terminal of 100 columns and 30 lines."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mirepoix.cli", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until_it_shows(self, words: str) -> None:
        """Read until the words are there; colours do not count."""
        while words not in re.sub(r"\x1b\[[0-9;]*m", "", self.text):
            if not self._read():
                raise AssertionError(f"it ended without {words!r}:\n{self.text}")

    def ends(self) -> int:
        while self._read():
            pass
        return self._process.wait()

    def _read(self) -> bool:
        if not select.select([self._master], [], [], DEADLINE_S)[0]:
            raise AssertionError(f"it shows nothing new:\n{self.text[-4000:]}")
        try:
            read = os.read(self._master, 65_536)
        except OSError:  # its end of the terminal is closed
            return False
        self.text += read.decode(errors="replace")
        return bool(read)
