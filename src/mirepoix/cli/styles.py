"""The styles of the screen: one plain table, and one colour for each state."""

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
    """Return the words for a state, in the state's colour."""
    return Text(state_word(state, has_due=has_due), style=STYLES[state])


def plain_table(title: str | None = None) -> Table:
    """Return a table with dim headings, two spaces between columns and no lines, so that it can be grepped."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
