"""The key of a task instance's call. It needs no Airflow."""

from __future__ import annotations

import dataclasses

import pytest

from mirepoix.airflow.key import Place, hash_of
from mirepoix.airflow.provider import get_provider_info
from mirepoix.celery.submit import KEY_LIMIT

PLACE = Place("orders", "manual__2026-11-30T00:00:00+00:00", "charge", -1)
CALL = hash_of("shop.charge", [7], {})


def test_it_tells_apart_what_airflow_tells_apart():
    others = [
        dataclasses.replace(PLACE, **{field.name: 3 if field.type == "int" else "other"})
        for field in dataclasses.fields(PLACE)
    ]
    keys = {place.key(CALL) for place in (PLACE, *others)} | {PLACE.key(hash_of("shop.charge", [8], {}))}
    assert len(keys) == 1 + len(others) + 1


def test_a_clear_after_one_try_is_told_from_a_clear_after_two():
    keys = [PLACE.before(tried).key(CALL) for tried in (0, 1, 2)]
    assert len(set(keys)) == 3
    assert keys[0] == PLACE.key(CALL)


@pytest.mark.parametrize("dag_id", ["o" * 250, "orders\n", "or\ud800ders"])
def test_it_always_fits(dag_id: str):
    key = dataclasses.replace(PLACE, dag_id=dag_id).key(CALL)
    assert len(key) <= KEY_LIMIT
    assert key.isprintable()
    assert key != PLACE.key(CALL)


def test_equal_calls_have_equal_hashes():
    assert hash_of("a", [1], {"x": 1, "y": [2]}) == hash_of("a", (1,), {"y": [2], "x": 1})
    assert hash_of("a", [1], {}) != hash_of("b", [1], {})


def test_the_provider_names_modules_that_exist():
    info = get_provider_info()
    assert info["package-name"] == "mirepoix"
    (connection,) = info["connection-types"]
    assert connection["hook-class-name"] == "mirepoix.airflow.hook.MirepoixHook"
