"""The release gate on a full ledger: ``python -m benchmarks.gate``.

A million payloads of fifty tasks wait, one in ten of them with the rest of a chain; ten of the tasks are changed in the
candidate. Each run is a process of its own (`mirepoix signatures check --ledger`): its time includes the start of
Python and the import of the app, its memory is the most that the process ever had. What it finds is compared with what
was planted, one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers

TASKS = 50
HEAD = """
import mirepoix
from celery import Celery

app = Celery("shop", broker="memory://")
mirepoix.install(app, {url!r})
"""
TAKES = "order, amount=0, *, note=''"
CHANGED = {
    0: ("gone", None, ""),
    1: ("renamed", "{name}_now", TAKES),
    2: ("renamed with an alias", "{name}_now", TAKES),
    3: ("parameter added without a default", "{name}", "order, currency, amount=0, *, note=''"),
    4: ("parameter added with a default", "{name}", "order, amount=0, *, note='', currency='EUR'"),
    5: ("parameter removed", "{name}", "order, amount=0"),
    6: ("parameter renamed", "{name}", "order, total=0, *, note=''"),
    7: ("made keyword-only", "{name}", "order, *, amount=0, note=''"),
    8: ("version raised without an upcaster", "{name}", TAKES),
    9: ("version raised with an upcaster", "{name}", TAKES),
}
CALLS = ((("{n}",), {}), (("{n}", 5), {}), (("{n}",), {"amount": 5}), (("{n}", 5), {"note": "a gift"}))
"""The shapes of a task's payloads; each is a quarter of them."""

PLANTED = {
    0: {0, 1, 2, 3},
    1: {0, 1, 2, 3},
    3: {0, 2},  # the others give a second argument by position, which fits
    5: {3},
    6: {2},
    7: {1, 3},
    8: {0, 1, 2, 3},
}
"""By changed task, which of its shapes the candidate cannot take."""


def name_of(number: int) -> str:
    return f"shop.task_{number:02}"


def code(url: str, *, is_candidate: bool) -> str:
    """The app's module: fifty tasks, and with the candidate ten of them changed."""
    lines = [HEAD.format(url=url)]
    for number in range(TASKS):
        name, takes, more = name_of(number), TAKES, ""
        if is_candidate and number in CHANGED:
            what, new_name, takes = CHANGED[number]
            if new_name is None:
                continue
            more = f", aliases=[{name!r}]" if "alias" in what else ", version=2" if "version" in what else ""
            name = new_name.format(name=name)
        lines.append(f"@app.task(name={name!r}{more})\ndef task_{number:02}({takes}): ...\n")
        if is_candidate and number in CHANGED and "with an upcaster" in CHANGED[number][0]:
            lines.append(f"@task_{number:02}.upcast(from_version=1)\ndef _({takes}): ...\n")
    return "\n".join(lines)


def fill(server: Server, folder: Path, rows: int) -> None:
    """Send them, in a process that has the old code."""
    server.reset()
    (folder / "old_shop.py").write_text(code(server.url, is_candidate=False))
    program = (
        f"import json, sys; sys.path.insert(0, {str(Path.cwd())!r}); import old_shop; from benchmarks import gate; "
        f"gate.send(old_shop.app, {rows})"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    tidy = {"postgresql": ("VACUUM ANALYZE", "CHECKPOINT"), "mariadb": ("ANALYZE TABLE mirepoix_task",)}
    server.execute(*tidy.get(server.name, ("ANALYZE",)))


def send(app: Any, rows: int) -> None:
    """Send *rows* payloads, evenly of all tasks and shapes, one in ten with another task behind it."""
    import mirepoix

    for number in range(TASKS):
        task = app.tasks[name_of(number)]
        behind = app.tasks[name_of((number + 1) % TASKS)]
        share = rows // TASKS
        mirepoix.bulk(task, _calls(task, share - share // 10))
        mirepoix.bulk(task, _calls(task, share // 10), link=behind.si(1, amount=2))


def _calls(task: Any, count: int) -> Iterator[Any]:
    for n in range(count):
        args, kwargs = CALLS[n % len(CALLS)]
        yield task.s(*(n if arg == "{n}" else arg for arg in args), **kwargs)


def check(server: Server, folder: Path) -> tuple[float, int, dict[str, Any]]:
    """Run the gate for the candidate: seconds, the most KiB that it had, what it printed."""
    (folder / "candidate.py").write_text(code(f"sqlite:///{folder}/own.db", is_candidate=True))
    command = ["-m", "mirepoix.cli", "--app", "candidate", "signatures", "check", "--ledger", server.url, "--json"]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.PIPE)
    said = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss, json.loads(said)


def audit(told: dict[str, Any], rows: int) -> tuple[list[str], list[str]]:
    """What was planted and not found, and what was found and not planted: calls, each with how many."""
    share = rows // TASKS
    parts = [share - share // 10, share // 10]
    planted: dict[str, int] = {}
    for number, shapes in PLANTED.items():
        for shape in shapes:
            planted[_shown(number, shape)] = sum(len(range(shape, part, len(CALLS))) for part in parts)
    for number in range(TASKS):
        if _carried_misfits((number + 1) % TASKS):
            planted[f"{_shown((number + 1) % TASKS, 2)} carried"] = share // 10
    found = {one["call"] + (" carried" if one["is_carried"] else ""): one["count"] for one in told["found"]}
    missed = [f"{call}: {count}" for call, count in planted.items() if found.get(call) != count]
    false = [f"{call}: {count}" for call, count in found.items() if planted.get(call) != count]
    return missed, false


def _carried_misfits(number: int) -> bool:
    return 2 in PLANTED.get(number, ())  # a link is called like the third shape


def _shown(number: int, shape: int) -> str:
    from mirepoix.signatures.call_codec import Call
    from mirepoix.signatures.shape import Shape

    args, kwargs = CALLS[shape]
    return str(Call(name_of(number), 1, Shape(len(args), frozenset(kwargs))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=LEDGERS, default=list(LEDGERS))
    options = parser.parse_args()
    with servers(*options.systems) as started, tempfile.TemporaryDirectory(prefix="mirepoix-gate-") as name:
        folder = Path(name)
        settings = f"{options.rows:,} payloads of {TASKS} tasks, the median of {options.rounds}"
        print_header("The release gate", started, settings)
        print(f"\n{'ledger':12} {'rows':>10} {'seconds':>8} {'MiB':>6}  kinds  would park  missed  false  load")
        for server in started:
            fill(server, folder, options.rows)
            runs = [check(server, folder) for _ in range(options.rounds)]
            seconds = statistics.median(one[0] for one in runs)
            mib = max(one[1] for one in runs) / 1024
            told = runs[-1][2]
            missed, false = audit(told, options.rows)
            print(
                f"{server.name:12} {told['payloads']:>10,} {seconds:>8.2f} {mib:>6.0f}  {told['kinds']:>5}"
                f"  {told['would_park']:>10,}  {len(missed):>6}  {len(false):>5}  {load()}"
            )
            for one in (*missed, *false):
                print(f"    {one}")
        print("\nfound:")
        for one in told["found"]:
            carried = "  (carried by others)" if one["is_carried"] else ""
            print(f"    {one['count']:>8,}  {one['call']}{carried}: {one['reason']}")


if __name__ == "__main__":
    main()
