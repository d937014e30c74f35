"""Print an audit for people: one side with its checks, or two sides beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mirepoix.demo.audit import Audit


def print_audit(console: Console, audits: Sequence[Audit], elapsed_s: float | None) -> None:
    """Print the figures of every side, and then whether Mirepoix's checks hold."""
    took = "" if elapsed_s is None else f" after {elapsed_s:.0f} s"
    console.print(Text(f"Audit{took}, from the effects on disk and the ledger", style="bold"))
    console.print(_figures(audits))
    ours = audits[0]
    if ours.finished_twice:
        console.print(Text("* killed before its end was recorded: effects elsewhere are at least once", style="dim"))
    states = ", ".join(f"{count} {state}" for state, count in (ours.states or {}).items())
    console.print(
        Text(f"In the ledger: {states}, nothing else." if ours.holds else f"In the ledger: {states}.", style="dim")
    )
    failed = [check for check in ours.checks if not check.holds]
    for check in failed:
        console.print(Text(f"✗ not true: {check.claim} ({check.found})", style="bold red"))
    if not failed:
        console.print(Text(f"✓ all {len(ours.checks)} checks hold", style="bold green"))
    for other in audits[1:]:
        console.print(Text(_losses(other), style="" if other.holds else "red"))


def _figures(audits: Sequence[Audit]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_header=len(audits) > 1)
    table.add_column("", no_wrap=True)
    for audit in audits:
        table.add_column(audit.side)
    rows: list[tuple[str, list[RenderableType]]] = [
        ("orders", [f"{audit.sent} placed, {audit.committed} committed" for audit in audits]),
        ("  paid, with receipt", [_of(audit.done, audit.committed) for audit in audits]),
        ("  lost", [_must_be_0(audit.lost) for audit in audits]),
        (
            "  rolled back, ran",
            [_must_be_0(audit.ran_after_rollback).append(f" of {audit.rolled_back}") for audit in audits],
        ),
        (
            "killed by SIGKILL",
            [f"{audit.killed_processes} processes, {audit.killed_workers} workers" for audit in audits],
        ),
        ("  cut off, run again", [_of(audit.recovered, audit.cut_off) for audit in audits]),
        ("  again after", [_delays(audit) for audit in audits]),
        ("  run again at its end*", [str(audit.finished_twice) for audit in audits]),
        ("runs overlapping", [_must_be_0(audit.overlapping) for audit in audits]),
        ("poison", [_poison(audit) for audit in audits]),
        ("failed for good", [_failed(audit) for audit in audits]),
        ("retried", [_of(audit.retried_done, audit.retried_sent) for audit in audits]),
        ("reminders", [_reminders(audit) for audit in audits]),
    ]
    for name, cells in rows:
        table.add_row(Text(name, style="dim"), *cells)
    return table


def _must_be_0(value: int) -> Text:
    return Text(str(value), style="bold green" if value == 0 else "bold red")


def _of(value: int, total: int) -> Text:
    return Text(f"{value} of {total}", style="green" if value == total else "bold red")


def _delays(audit: Audit) -> str:
    if audit.recovery_p50_s is None:
        return "-"
    return f"{audit.recovery_p50_s:.2f} s, p95 {audit.recovery_p95_s:.2f} s"


def _poison(audit: Audit) -> str:
    if audit.poison_quarantined is None:
        return f"{audit.poison_sent} gone after {audit.poison_runs} runs"
    return f"{audit.poison_quarantined} quarantined, {audit.poison_runs} runs"


def _failed(audit: Audit) -> str:
    return (
        f"{audit.failed_sent}, in a log only"
        if audit.failed_kept is None
        else f"{audit.failed_kept}, kept with traceback"
    )


def _reminders(audit: Audit) -> Text:
    text = _of(audit.reminders_done, audit.reminders_sent)
    if audit.reminder_latest_s is not None:
        text.append(f", {max(0.0, audit.reminder_latest_s):.1f} s late at most", style="default")
    return text


def _losses(other: Audit) -> str:
    unrun = other.reminders_sent - other.reminders_done
    orders = f"{other.lost} of {other.committed} orders and {unrun} of {other.reminders_sent} reminders lost"
    ghosts = f"{other.ran_after_rollback} of {other.rolled_back} rolled-back orders ran"
    return f"{other.side}, default settings, the same kills: {orders}; {ghosts}."
