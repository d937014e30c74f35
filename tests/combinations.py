"""Choose the combinations of database, pool, broker and connection that a default run tests.

A test with several of these parameters unfolds to their product. A default run needs less to keep every promise tested.
A promise is a test function with its other parameters. Each promise runs on every database at least once, and each pair
of a database, a pool, a broker and a kind of connection is tested by at least one promise of the file. The promises of
a file take the pools in turn. This is pairwise testing by a greedy choice: Cohen, Dalal, Fredman and Patton, "The AETG
System", IEEE Transactions on Software Engineering 23(7), 1997.

A test with only one such parameter loses nothing, and one without a database runs with each. In a test marked
``slow``, because it starts workers for example, the promise is the test function alone, and each of its other
parameters is tested on one database, not on every. A bridge to another system marks its tests ``in_turn``, because what
it calls is tested on each database elsewhere: each is tested on one database, the next on the next. A test marked
``thorough`` is left out: another test proves more.

``--all`` runs every combination, ``--quick`` one of each promise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest

AXES = {
    "database": frozenset({"sqlite", "postgresql", "mariadb"}),
    "pool": frozenset({"prefork", "mirepoix", "mirepoix-asyncio", "threads", "solo", "gevent"}),
    "broker": frozenset({"rabbitmq", "redis"}),
    "connection": frozenset({"session", "scoped", "engine", "plain", "django", "sqlalchemy"}),
}
AXIS_OF = {value: axis for axis, values in AXES.items() for value in values}

Value = tuple[str, str]
"""An axis and its value: ``("database", "sqlite")``."""

Pair = frozenset[Value]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One test of a promise, and the combination that it runs on."""

    item: pytest.Item
    place: frozenset[Value]
    variant: frozenset[Value]

    @property
    def databases(self) -> frozenset[Value]:
        """The database, or the databases, that it runs on."""
        return frozenset(value for value in self.place if value[0].startswith("database"))

    @property
    def pairs(self) -> set[Pair]:
        """Each two of its places."""
        return {frozenset(pair) for pair in combinations(self.place, 2)}


def choose(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Those that a default run tests, and those that it leaves out. Both keep their order."""
    files: defaultdict[str, defaultdict[str, list[Candidate]]] = defaultdict(lambda: defaultdict(list))
    in_turn: defaultdict[str, defaultdict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if item.get_closest_marker("thorough"):
            continue
        promise, place = _promise_and_place(item)
        if item.get_closest_marker("in_turn"):
            in_turn[str(item.path)][promise].append(item)
            continue
        variant = frozenset[Value]()
        if item.get_closest_marker("slow"):
            function, _, others = promise.partition("|")
            promise, variant = function, frozenset({("others", others)})
        files[str(item.path)][promise].append(Candidate(item, place, variant))
    chosen = {candidate.item for promises in files.values() for candidate in _of_a_file(list(promises.values()))}
    for promises in in_turn.values():
        chosen.update(found[number % len(found)] for number, found in enumerate(promises.values()))
    return [item for item in items if item in chosen], [item for item in items if item not in chosen]


def first(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The first test of each promise, and the others."""
    chosen = set({_promise_and_place(item)[0]: item for item in reversed(items)}.values())
    return [item for item in items if item in chosen], [item for item in items if item not in chosen]


def summary(left_out: Counter[str]) -> Iterator[str]:
    """Says at the end of a default run what it left out, a line for each file."""
    yield f"{left_out.total():,} further combinations, of database and pool for example. --all tests them too:"
    for file, count in sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"{count:7,}  {file}"


def _of_a_file(promises: list[list[Candidate]]) -> set[Candidate]:
    chosen: set[Candidate] = set()
    paired: set[Pair] = set()
    used: Counter[frozenset[Value]] = Counter()

    def take(candidate: Candidate) -> None:
        chosen.add(candidate)
        paired.update(candidate.pairs)
        used[candidate.place] += 1

    for candidates in promises:
        has_database = any(candidate.databases for candidate in candidates)
        needed = {it: (it.databases if has_database else it.place) | it.variant for it in candidates}
        values = {value for candidate in candidates for value in needed[candidate]}
        if not any(candidate.place for candidate in candidates):
            chosen.update(candidates)
            continue
        while values:
            best = max(
                candidates,
                key=lambda it: (len(needed[it] & values), len(it.pairs - paired), it.place in used, -used[it.place]),
            )
            take(best)
            values -= needed[best]
    everything = [candidate for candidates in promises for candidate in candidates]
    missing = {pair for candidate in everything for pair in candidate.pairs} - paired
    while missing:
        best = max(everything, key=lambda it: len(it.pairs & missing))
        take(best)
        missing -= best.pairs
    return chosen


def _promise_and_place(item: pytest.Item) -> tuple[str, frozenset[Value]]:
    """A parameter that names a database, a pool, a broker or a connection is a place. All others make the promise."""
    promise = [item.nodeid.partition("[")[0]]
    call = getattr(item, "callspec", None)
    if call is None:
        return promise[0], frozenset()
    place: dict[str, str] = {}
    for name, given in sorted(call.params.items()):
        values = given if isinstance(given, tuple) else (given,)
        if all(isinstance(value, str) and value in AXIS_OF for value in values):
            for value in values:
                axis = AXIS_OF[value]
                place[axis if axis not in place else f"{axis} of {name}"] = value
        else:
            promise.append(f"{name}={id(given)}")  # the same object in each combination
    return "|".join(promise), frozenset(place.items())
