"""The corpus: what is planted is found, and nothing is found where nothing is."""

from __future__ import annotations

import time

import pytest
from corpus import safe, unsafe
from corpus.apps import early, ledger, plain

from mirepoix.crashtest.unusable import Unusable

TASKS = {name: task for app in (plain, early, ledger) for name, task in app.tasks.items()}


def told(report):
    return {one.code for one in report.findings if one.fails}


@pytest.mark.slow
def test_all_that_is_planted_is_found_and_nothing_else(any_order, exploring, capsys, request):
    # The verdicts were the same on all of them; for the time that it takes, only these are asked each time.
    step = 1 if request.node.callspec.id.startswith(("sqlite", "postgresql-savepoints")) else 3
    wrong, began_at, deliveries = [], time.monotonic(), 0
    for name, expected in list(unsafe.EXPECTED.items())[::step]:
        try:
            report = exploring(TASKS[name], any_order)
        except Unusable as error:
            wrong.append(str(error))
            continue
        deliveries += report.explored.deliveries
        missing, extra = expected - told(report), told(report) - expected
        if missing or extra:
            wrong.append(f"{name}: missing {missing}, extra {extra}\n{report}")
    for name in safe.NAMES[::step]:
        try:
            report = exploring(TASKS[name], any_order)
        except Unusable as error:
            wrong.append(str(error))
            continue
        deliveries += report.explored.deliveries
        if told(report):
            wrong.append(f"{name} is safe\n{report}")
    with capsys.disabled():
        print(
            f"\n{len(unsafe.EXPECTED)} unsafe and {len(safe.NAMES)} safe tasks, each {step}th: {len(wrong)} wrong, "
            f"{deliveries} deliveries, {time.monotonic() - began_at:.1f} s"
        )
    assert not wrong, "\n\n".join(wrong)


def test_the_corpus_is_large_enough():
    assert len(unsafe.EXPECTED) >= 20
    assert len(safe.NAMES) >= 15
