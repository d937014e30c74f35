"""The demo ends with an audit that holds, and the audit would say so if it did not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirepoix.demo.folder import Folder
from pace import DEADLINE_S, pace, until

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()", "demo", "--json"]
WORKERS_AND_PROCESSES = 2 + 2 * 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small run, kept: its folder and its report."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    code, report = demo("--orders", "150", "--kills", "4", "--worker-kills", "1", "--keep", str(folder))
    assert code == 0, report
    return folder, report


@pytest.fixture
def copy(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Folder:
    """The files of that run, to be falsified."""
    shutil.copytree(finished[0], tmp_path / "kept")
    return Folder(tmp_path / "kept" / "mirepoix")


def test_a_run_with_kills_loses_nothing(finished: tuple[Path, dict[str, Any]]):
    report = finished[1]
    ours = report["mirepoix"]
    assert report["holds"]
    assert (ours["sent"], ours["committed"], ours["rolled_back"], ours["done"]) == (150, 135, 15, 135)
    assert (ours["lost"], ours["ran_after_rollback"], ours["overlapping"]) == (0, 0, 0)
    assert (ours["killed_processes"], ours["killed_workers"]) == (4, 1)
    assert ours["recovered"] == ours["cut_off"] >= 4
    assert (ours["poison_sent"], ours["poison_quarantined"]) == (2, 2)


def test_nothing_runs_when_the_demo_has_ended(finished: tuple[Path, dict[str, Any]]):
    assert processes_in(finished[0]) == []


def test_the_audit_holds_when_it_is_read_again(copy: Folder):
    code, report = demo("--audit", str(copy.path.parent))
    assert (code, report["holds"]) == (0, True)


def test_the_audit_fails_when_an_effect_is_missing(copy: Folder):
    lines = copy.effects.read_text().splitlines(keepends=True)
    ends = [line for line in lines if '"what": "end"' in line and '"step": "receipt"' in line]
    lines.remove(ends[-1])
    copy.effects.write_text("".join(lines))
    code, report = demo("--audit", str(copy.path.parent))
    assert (code, report["holds"], report["mirepoix"]["lost"]) == (1, False, 1)


def test_the_audit_fails_when_a_rolled_back_order_ran(copy: Folder):
    sent = [json.loads(line) for line in copy.sent.read_text().splitlines()]
    declined = next(fact["order"] for fact in sent if not fact["is_committed"])
    lines = copy.effects.read_text().splitlines()
    ghost = {**json.loads(lines[0]), "what": "begin", "task": "ghost", "step": "charge", "order": declined}
    copy.effects.write_text("\n".join([*lines, json.dumps(ghost)]) + "\n")
    code, report = demo("--audit", str(copy.path.parent))
    assert (code, report["mirepoix"]["ran_after_rollback"]) == (1, 1)


def test_the_audit_fails_when_two_runs_overlapped(copy: Folder):
    lines = copy.effects.read_text().splitlines()
    first = next(json.loads(line) for line in lines if '"what": "end"' in line)
    second = {**first, "what": "begin", "at": first["at"] - 0.001, "pid": 1}
    copy.effects.write_text("\n".join([*lines, json.dumps(second), json.dumps({**second, "what": "end"})]) + "\n")
    code, report = demo("--audit", str(copy.path.parent))
    assert (code, report["mirepoix"]["overlapping"]) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_demo_that_is_ended_takes_its_workers_with_it(number: signal.Signals, tmp_path: Path):
    folder = tmp_path / "kept"
    command = [*COMMAND, "--orders", "200", "--keep", str(folder)]
    # A shell's background job, which these tests may be, ignores SIGINT, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        signal.signal(signal.SIGINT, before)
        try:
            until(lambda: len(processes_in(folder)) >= WORKERS_AND_PROCESSES, "all processes run")
            process.send_signal(number)
            process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    until(lambda: not processes_in(folder), "no process is left")


def demo(*options: str) -> tuple[int, dict[str, Any]]:
    """Run it; the exit code and the report."""
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=110 * pace(), check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def processes_in(folder: Path) -> list[str]:
    """The processes whose working directory is inside *folder*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = str((entry / "cwd").readlink())
        except OSError:  # it has ended, and also the look for the file may say so
            continue
        if where.startswith(str(folder)):
            found.append(str(entry))
    return found
