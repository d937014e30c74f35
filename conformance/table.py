"""Put the outcomes of several runs side by side, as Markdown: ``python -m conformance.table NAME=FILE.json ...``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from conformance.record import ORDER

Outcomes = dict[str, str]  # test -> outcome


def read(path: Path) -> Outcomes:
    """What a run recorded; a run that ended before its summary recorded nothing."""
    return json.loads(path.read_text()) if path.exists() else {}


def table(sides: dict[str, Outcomes]) -> str:
    """One row a file, one column a side; below it what passes on the first side and not on the last."""
    files = sorted({_file(test) for outcomes in sides.values() for test in outcomes})
    lines = [_row(["", *sides]), _row(["---"] * (1 + len(sides)))]
    lines += [_row([f"`{Path(file).name}`", *(_sum(of, file) for of in sides.values())]) for file in files]
    lines.append(_row(["all", *map(_sum, sides.values())]))
    reference, *_, ours = sides
    differing = [
        f"- `{test}`: {sides[ours].get(test, 'not run')}"
        for test, outcome in sides[reference].items()
        if outcome == "passed" and sides[ours].get(test) != "passed"
    ]
    lines += ["", f"Passed on {reference} and not on {ours}: {len(differing) or 'none'}", "", *differing]
    return "\n".join(lines)


def _sum(outcomes: Outcomes, file: str = "") -> str:
    counts = Counter(outcome for test, outcome in outcomes.items() if test.startswith(file))
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ORDER if counts[outcome])


def _file(test: str) -> str:
    return test.partition("::")[0]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    print(table({name: read(Path(path)) for name, path in given.items()}))
