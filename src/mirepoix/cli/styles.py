"""The few looks of the screen: one plain table, one colour a state."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mirepoix.operations.format import state_word
from mirepoix.states import State

STYLES = {
    State.PENDING: "",
    State.LEASED: "blue",
    State.RUNNING: "bold blue",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.QUARANTINED: "bold magenta",
    State.PARKED: "bold yellow",
    State.CANCELLED: "dim",
    State.EXPIRED: "dim",
}


def state_text(state: State, *, has_due: bool = False) -> Text:
    """A state in people's words and its colour."""
    return Text(state_word(state, has_due=has_due), style=STYLES[state])


def plain_table(title: str | None = None) -> Table:
    """Columns two spaces apart, dim headings, no lines: good to read and to grep."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
