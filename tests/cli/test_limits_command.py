"""``mirepoix limits``: what is in force, who has set it, and how it is changed."""

from __future__ import annotations

from typing import Any

import pytest

from driver import Ledger
from mirepoix.ledger import limits
from mirepoix.ledger.limits import Bounds


@pytest.fixture
def recorded(ledger: Ledger) -> Ledger:
    """A ledger with two limits of the code."""
    ledger.do(limits.record, {"shop.export": Bounds(10), "provider": Bounds(None, 100, 60.0)}, "worker w1")
    return ledger


def test_limits_are_listed_changed_and_reset(recorded: Ledger, cli: Any):
    said = cli("limits").stdout
    assert "shop.export  10 at once" in said
    assert "provider     100 in any 1m" in said
    said = cli("limits", "set", "shop.export", "--running", "3", "--rate", "5/s", "--by", "ana").stdout
    assert said == "shop.export: 10 at once -> 3 at once and 5 in any 1s\n"
    (line,) = [line for line in cli.json("limits", "list")["limits"] if line["name"] == "shop.export"]
    assert line == {
        "name": "shop.export",
        "running": 3,
        "rate": 5,
        "period_s": 1.0,
        "source": "operator",
        "changed_by": "ana",
        "drift": "the code says 10 at once",
    }
    assert "shop.export: the code says 10 at once" in cli("limits", "list").stdout
    cli("limits", "set", "shop.export", "--rate", "any")
    assert recorded.do(limits.read)["shop.export"].bounds == Bounds(3)
    cli("limits", "reset", "shop.export")
    assert recorded.do(limits.read)["shop.export"].bounds == Bounds(10)
    cli("limits", "remove", "provider")
    assert set(recorded.do(limits.read)) == {"shop.export"}
    acts = recorded.query("SELECT verb, kind, value, reason FROM mirepoix_steering ORDER BY id")
    assert acts[0] == ("set", "limit", "shop.export", "10 at once -> 3 at once and 5 in any 1s")
    assert [act[0] for act in acts] == ["set", "set", "reset", "remove"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("set", "nothing", "--running", "1"), 2, "There is no limit 'nothing'"),
        (("set", "provider"), 2, "Give --running, --rate or both"),
        (("set", "provider", "--running", "-1"), 2, "a whole number, or any, not '-1'"),
        (("set", "provider", "--running", "9" * 30), 2, "at most 2,147,483,647 tasks"),
        (("set", "provider", "--rate", "often"), 2, "A rate is a text such as '100/m'"),
    ],
)
def test_a_wrong_change_says_why(recorded: Ledger, cli: Any, words: tuple[str, ...], code: int, why: str):
    assert why in cli("limits", *words, code=code).stderr
