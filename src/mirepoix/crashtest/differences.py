"""Compare the state after a run with the state after a clean run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mirepoix.crashtest.explore import Explored, Observed
from mirepoix.crashtest.normalise import Row


@dataclass(frozen=True, slots=True)
class Difference:
    """*kind* is in verdict.RANKS. *subject* names the table, request or mail. *words* is the text for people."""

    kind: str
    subject: str
    words: str

    @property
    def code(self) -> str:
        """The code with which a test allows it."""
        return f"{self.kind}:{self.subject}"


def differences(clean: Observed, seen: Observed, *, is_ended: bool) -> list[Difference]:
    """Return every difference of *seen* from *clean*. A run that *is_ended* must also have succeeded."""
    found = [*_of_effects(clean, seen), *_of_rows(clean.rows, seen.rows), *_of_files(clean.files, seen.files)]
    if is_ended and seen.ended.how != "ok":
        error = seen.ended.error
        if seen.ended.how == "stuck":
            found.append(Difference("stuck", "task", "when it is delivered again it asks for retries without an end"))
        else:
            words = f"when it is delivered again it fails: {type(error).__name__}: {error}"
            found.append(Difference("fails", type(error).__name__, words))
    if is_ended and seen.is_invariant_broken and not clean.is_invariant_broken:
        found.append(Difference("invariant", "invariant", f"the invariant does not hold: {seen.is_invariant_broken}"))
    return found


def _of_effects(clean: Observed, seen: Observed) -> Iterator[Difference]:
    ours, theirs = _by_subject(clean), _by_subject(seen)
    for who in sorted(ours.keys() | theirs.keys()):
        kind, subject = who
        before, after = ours[who], theirs[who]
        if after > before:
            keys = {key for name, key in seen.keys if name == subject}
            if kind in {"http", "aws"} and len(keys) > len({key for name, key in clean.keys if name == subject}):
                key = "Idempotency-Key" if kind == "http" else "idempotency token"
                words = f"{subject} is sent {after}x (clean run: {before}x), with another {key} each time"
                yield Difference("changed-key", subject, words)
            else:
                verb = "is sent" if kind != "enqueue" else "is enqueued"
                yield Difference(f"duplicate-{kind}", subject, f"{subject} {verb} {after}x (clean run: {before}x)")
        elif after < before:
            yield Difference(f"lost-{kind}", subject, f"{subject} {_times(after)} (clean run: {before}x)")
        elif any(e.kind == kind and e.subject == subject for e in clean.effects - seen.effects):
            yield Difference(f"changed-{kind}", subject, f"{subject} says something else than in a clean run")


def _times(count: int) -> str:
    return "never happens" if count == 0 else f"happens {count}x"


def _by_subject(seen: Observed) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for effect, count in seen.effects.items():
        found[effect.kind, effect.subject] += count
    return found


def _of_rows(clean: Counter[Row], seen: Counter[Row]) -> Iterator[Difference]:
    new_of = [Counter[str](), Counter[str]()]
    for rows, new in zip((clean, seen), new_of, strict=True):
        for row, count in rows.items():
            new[row.table] += count if row.key is None else 0
    ours, theirs = new_of
    for table in sorted(ours.keys() | theirs.keys()):
        name = table.partition(".")[2]
        words = f"{theirs[table]} new rows in {name} (clean run: {ours[table]})"
        if theirs[table] != ours[table]:
            kind = "duplicate-row" if theirs[table] > ours[table] else "lost-row"
            yield Difference(kind, name, words)
        elif any(row.table == table and row.key is None for row in clean - seen):
            yield Difference("changed-row", name, f"a new row in {name} differs from that of a clean run")
    yield from _of_old_rows(clean, seen)


def _of_old_rows(clean: Counter[Row], seen: Counter[Row]) -> Iterator[Difference]:
    now = {(row.table, row.key): dict(row.values) for row in seen if row.key is not None}
    for row in clean - seen:
        if row.key is None:
            continue
        name = row.table.partition(".")[2]
        key = _key(row.key)
        values = now.get((row.table, row.key))
        if values is None:
            yield Difference("lost-row", name, f"{name}[{key}] is gone")
            continue
        for column, value in row.values:
            if values[column] != value:
                is_now, was = _short(values[column], value), _short(value, values[column])
                words = f"{name}[{key}].{column} is {is_now} (clean run: {was})"
                yield Difference("changed-row", f"{name}.{column}", words)
    wanted = {(row.table, row.key) for row in clean}
    for table, key in now:
        if (table, key) not in wanted:
            name = table.partition(".")[2]
            yield Difference("changed-row", name, f"{name}[{_key(key)}] is still there (a clean run deletes it)")


def _key(key: object) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _of_files(clean: dict[str, bytes], seen: dict[str, bytes]) -> Iterator[Difference]:
    for name in sorted(clean.keys() | seen.keys()):
        if name not in seen:
            yield Difference("lost-file", name, f"the file {name} is missing")
        elif name not in clean:
            yield Difference("left-file", name, f"the file {name} is left behind, {len(seen[name])} bytes")
        elif clean[name] != seen[name]:
            words = f"the file {name} has {len(seen[name])} bytes (clean run: {len(clean[name])})"
            words += " and another content" if len(seen[name]) == len(clean[name]) else ""
            yield Difference("changed-file", name, words)


_LONGEST, _BEFORE = 60, 20


def _short(text: str, other: str) -> str:
    """Return *text* if it is short, otherwise the part where it differs from *other*."""
    if len(text) <= _LONGEST:
        return text
    begins = max(0, len(os.path.commonprefix([text, other])) - _BEFORE)  # noqa: RUF071 (by characters)
    begins = 0 if begins + _BEFORE < _LONGEST - _BEFORE else begins
    shown = text[begins : begins + _LONGEST]
    return f"{'...' * (begins > 0)}{shown}{'...' * (begins + _LONGEST < len(text))}"


def summary(explored: Explored) -> str:
    """Describe how much was explored."""
    durable = sum(point.is_durable for point in explored.points)
    twice = len({tried.schedule for tried in explored.tried if tried.schedule.then is not None})
    return (
        f"{len(explored.points)} points ({durable} durable), {len(explored.tried)} crashes tried"
        f"{f' ({twice} of them two in a row)' if twice else ''}, "
        f"{explored.deliveries} deliveries, {explored.took_s * 1000:.0f} ms, {explored.mode}; {explored.state}"
        f"{'; killed by SIGKILL in a process of its own' * explored.is_killed}"
    )
