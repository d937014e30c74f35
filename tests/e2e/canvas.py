"""Tasks of the shop that return something, or send chords. A copy of this file is put beside `shop.py`."""

from __future__ import annotations

from typing import Any

from celery import chord, group
from celery.result import allow_join_result
from shop import add, app, run, taken, tell, wait_for


@app.task(bind=True, name="shop.collect")
def collect(self: Any, values: Any, *more: Any) -> Any:
    """Return what it was given: the body of most chords."""
    with run(self, values=values):
        return [values, *more] if more else values


@app.task(bind=True, name="shop.request")
def request(self: Any, *_: Any) -> dict[str, Any]:
    """Return what its message says of where it comes from."""
    with run(self):
        told = self.request
        return {
            "root": told.root_id,
            "parent": told.parent_id,
            "stamps": told.stamps,
            "stamped": told.stamped_headers,
            "group": told.group,
            "priority": told.delivery_info["priority"],
            "queue": told.delivery_info["routing_key"],
        }


@app.task(bind=True, name="shop.progress")
def progress(self: Any, name: str) -> str:
    """Report how far it is, and wait for a file."""
    with run(self):
        self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
        tell(self, "reported")
        wait_for(name)
    return "done"


@app.task(bind=True, name="shop.late_progress")
def late_progress(self: Any, begun: str, go_on: str) -> None:
    """Wait for a file, then report: by then the attempt may have been lost."""
    with run(self):
        if taken(begun):
            wait_for(go_on)
            self.update_state(state="PROGRESS", meta="a zombie's")
            tell(self, "reported")


@app.task(bind=True, name="shop.big")
def big(self: Any, length: int) -> str:
    """Return a long text."""
    with run(self):
        return "x" * length


@app.task(bind=True, name="shop.unspeakable")
def unspeakable(self: Any) -> object:
    """Return what JSON cannot hold."""
    with run(self):
        return object()


@app.task(bind=True, name="shop.quiet", ignore_result=True)
def quiet(self: Any, value: Any = None) -> Any:
    """Return what nobody is to keep."""
    with run(self):
        return value


@app.task(bind=True, name="shop.big_failure")
def big_failure(self: Any, length: int) -> None:
    """Raise a long text."""
    with run(self):
        raise ValueError("x" * length)


class Unprintable(Exception):
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


@app.task(bind=True, name="shop.unprintable")
def unprintable(self: Any) -> None:
    """Raise what cannot be shown."""
    with run(self):
        raise Unprintable("x")


@app.task(bind=True, name="shop.replaced_in_place")
def replaced_in_place(self: Any, x: int) -> None:
    """Give way to another task."""
    with run(self):
        raise self.replace(add.s(x, 100))


@app.task(bind=True, name="shop.replaced_by_group")
def replaced_by_group(self: Any, count: int) -> None:
    """Give way to a group."""
    with run(self):
        raise self.replace(group(add.s(i, i) for i in range(count)))


@app.task(bind=True, name="shop.replaced_by_chord")
def replaced_by_chord(self: Any, count: int) -> None:
    """Give way to a chord."""
    with run(self):
        raise self.replace(chord([add.s(i, i) for i in range(count)], collect.s()))


@app.task(bind=True, name="shop.sends_chord")
def sends_chord(self: Any, count: int) -> str:
    """Send a chord by itself; return the id of its body."""
    with run(self):
        return chord([add.s(i, i) for i in range(count)], collect.s()).delay().id


@app.task(bind=True, name="shop.adds_to_chord")
def adds_to_chord(self: Any, x: int) -> int:
    """Make its chord wait for one member more."""
    with run(self):
        self.add_to_chord(add.s(x, 1000))
        return x


@app.task(bind=True, name="shop.waits_inside")
def waits_inside(self: Any, x: int) -> int:
    """Wait for the result of another task."""
    with run(self), allow_join_result():
        return add.delay(x, 1).get(timeout=30) + 1
