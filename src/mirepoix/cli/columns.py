"""Lists for a screen of any width. Ids are always complete; the least important columns are cut first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

GAP = 2
WHOLE = 1_000
"""The *least* of a column that is left out and never cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. *least* is its smallest width in cells. A column whose *least* is None is never cut or left out."""

    heading: str
    least: int | None = None
    gives_way: int = 0
    """The rank of the column: the lowest rank is cut first, and then left out first."""
    is_right: bool = False
    is_cut_in_front: bool = False
    """Cut the beginning and not the end: the end of a dotted name says more."""


def rows(columns: Sequence[Column], cells: Iterable[Sequence[Text | str]], width: int) -> list[Text]:
    """Return the heading and a line for each row. Only columns that are never cut can make it wider than *width*."""
    lines = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in cells]
    natural = [
        max([len(column.heading), *(line[number].cell_len for line in lines)]) for number, column in enumerate(columns)
    ]
    filled = [
        number
        for number, column in enumerate(columns)
        if column.least is None or any(line[number].plain for line in lines)
    ]
    widths = _fitted(columns, natural, width, filled)
    heading = [Text(column.heading, style="dim") for column in columns]
    return [_line(columns, line, widths) for line in (heading, *lines)]


def _fitted(columns: Sequence[Column], natural: list[int], width: int, shown: list[int]) -> dict[int, int]:
    """Return the width of each column that is shown, by its number."""
    by_rank = sorted(
        (number for number, column in enumerate(columns) if column.least is not None),
        key=lambda number: columns[number].gives_way,
    )
    while True:
        fitted = {number: natural[number] for number in shown}
        for number in by_rank:
            surplus = sum(fitted.values()) + GAP * (len(fitted) - 1) - width
            if surplus > 0 and number in fitted:
                fitted[number] = max(min(columns[number].least or 0, natural[number]), natural[number] - surplus)
        surplus = sum(fitted.values()) + GAP * (len(fitted) - 1) - width
        left_out = next((number for number in by_rank if number in fitted), None)
        if surplus <= 0 or left_out is None:
            return fitted
        shown.remove(left_out)


def _line(columns: Sequence[Column], cells: Sequence[Text], widths: dict[int, int]) -> Text:
    last = max(widths)
    line = Text()
    for number, width in widths.items():
        cell = _cut(cells[number], width, in_front=columns[number].is_cut_in_front)
        padding = " " * (width - cell.cell_len)
        if columns[number].is_right:
            line.append(padding).append_text(cell)
        else:
            line.append_text(cell).append(padding if number != last else "")
        line.append(" " * GAP if number != last else "")
    line.rstrip()
    return line


def _cut(cell: Text, width: int, *, in_front: bool) -> Text:
    if cell.cell_len <= width:
        return cell
    if not in_front:
        cut = cell.copy()
        cut.truncate(width, overflow="ellipsis")
        return cut
    plain = cell.plain
    while Text(plain).cell_len > width - 1:
        plain = plain[1:]
    return Text("…" + plain, style=cell.style)
