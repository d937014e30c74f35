"""``mirepoix demo``: run a small shop, kill its workers, and audit the result."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from mirepoix.demo.audit import Audit, audit
from mirepoix.demo.folder import Folder
from mirepoix.demo.plan import Plan
from mirepoix.demo.report import print_audit
from mirepoix.demo.screen import Lines, Picture
from mirepoix.demo.side import Side

INTERRUPTED = 130


@click.command()
@click.option("--orders", default=500, show_default=True, type=click.IntRange(10), help="How many orders to place.")
@click.option("--kills", default=12, show_default=True, type=click.IntRange(0), help="Pool processes to SIGKILL.")
@click.option("--worker-kills", default=3, show_default=True, type=click.IntRange(0), help="Whole workers to SIGKILL.")
@click.option("--stock", is_flag=True, help="Also run the shop on plain Celery, to see what that loses.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep all files in this new folder.")
@click.option(
    "--audit", "kept", type=click.Path(exists=True, path_type=Path), metavar="DIR", help="Only audit such a folder."
)
@click.option("--json", "is_json", is_flag=True, help="Print only the audit, as JSON.")
def demo(
    orders: int, kills: int, worker_kills: int, stock: bool, keep: Path | None, kept: Path | None, is_json: bool
) -> None:
    """Kill the workers of a small shop, and lose nothing.

    It places orders on SQLite: each is a row and two tasks in one transaction. Real worker processes run the tasks.
    The exit code is 0 only if the audit at the end finds nothing wrong. It needs no broker, no server and no
    configuration, and takes less than a minute.
    """
    if kept is not None:
        _close([audit(folder) for folder in _folders(kept, is_stock=(kept / "stock").is_dir())], None, is_json=is_json)
    plan = Plan(orders=orders, child_kills=kills, worker_kills=worker_kills)
    began_at = time.monotonic()
    with _place(keep) as path:
        sides = [Side(folder, plan) for folder in _folders(path, is_stock=stock)]
        try:
            _run(sides, plan, is_json=is_json)
        except KeyboardInterrupt:
            click.echo("Interrupted: every worker was ended.", err=True)
            raise SystemExit(INTERRUPTED) from None
        audits = [audit(side.folder) for side in sides]
        _close(audits, time.monotonic() - began_at, is_json=is_json)


def _folders(path: Path, *, is_stock: bool) -> list[Folder]:
    folders = [Folder(path / "mirepoix")]
    return [*folders, Folder(path / "stock", is_stock=True)] if is_stock else folders


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mirepoix-demo-") as path:
            yield Path(path)
        return
    if keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty. Name a new folder, or audit that one with --audit {keep}.")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def _run(sides: list[Side], plan: Plan, *, is_json: bool) -> None:
    stopped = threading.Event()
    console = Console(stderr=is_json, quiet=is_json)
    view = (Picture if console.is_terminal else Lines)(console, plan, sides)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ThreadPoolExecutor(len(sides)) as pool:
            running: list[Future[Any]] = [pool.submit(side.run, stopped) for side in sides]
            view.start()
            try:
                while not all(side.done() for side in running):
                    time.sleep(0.1)
                    view.tick()
            except BaseException:
                stopped.set()  # the sides end their workers, and the end of the pool's block waits for that
                raise
            finally:
                view.stop()
        for side in running:
            side.result()
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _close(audits: list[Audit], elapsed_s: float | None, *, is_json: bool) -> NoReturn:
    ours = audits[0]
    if is_json:
        stock = audits[1].as_json() if len(audits) > 1 else None
        seconds = None if elapsed_s is None else round(elapsed_s, 1)
        click.echo(
            json.dumps({"holds": ours.holds, "seconds": seconds, "mirepoix": ours.as_json(), "stock": stock}, indent=2)
        )
    else:
        print_audit(Console(highlight=False), audits, elapsed_s)
    raise SystemExit(0 if ours.holds else 1)
