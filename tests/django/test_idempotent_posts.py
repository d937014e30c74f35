"""``mirepoix.submit_once`` in Django: part of ``atomic()``, run by ``run_tasks()``, and behind an idempotent POST."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory
from shop import Shop

import mirepoix
from mirepoix.django.models import SubmissionKey, Task
from mirepoix.django.test import run_tasks
from mirepoix.errors import KeyTaken


class Boom(Exception):
    """What a view raises."""


@pytest.fixture
def charge(shop: Shop) -> Any:
    @shop.app.task(name="shop.charge", shared=False)
    def charge(amount: str, card: str) -> str:
        return f"charged {amount}"

    return charge


def create_charge(charge: Any, request: Any, fails: bool = False) -> HttpResponse:
    """The view of docs/how-to/idempotent-sends.md."""
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 200:
        return JsonResponse({"error": "Send an Idempotency-Key header of 1 to 200 characters."}, status=400)
    call = {"amount": request.POST["amount"], "card": request.POST["card"]}
    try:
        with transaction.atomic():
            handle = mirepoix.submit_once(charge, f"charge/7/{key}", (), call)
            if fails:
                raise Boom
    except KeyTaken as error:
        return JsonResponse({"error": f"This key was used for another request: {error.differences}"}, status=422)
    return JsonResponse({"task": handle.id, "state": handle.state or "pending"}, status=202)


def post(charge: Any, key: str, fails: bool = False, **data: str) -> tuple[int, dict[str, Any]]:
    request = RequestFactory().post("/charges", data, HTTP_IDEMPOTENCY_KEY=key)
    answer = create_charge(charge, request, fails)
    return answer.status_code, json.loads(answer.content)


def test_a_repeated_request_is_the_same_task_and_another_one_is_refused(shop: Shop, charge: Any):
    status, first = post(charge, "k", amount="5", card="4242")
    assert (status, first["state"]) == (202, "pending")
    assert post(charge, "k", amount="5", card="4242") == (202, first)
    status, refused = post(charge, "k", amount="6", card="4242")
    assert status == 422
    assert "keyword 'amount' has another value" in refused["error"]
    assert post(charge, "", amount="5", card="4242")[0] == 400
    assert post(charge, "l", amount="6", card="4242")[1]["task"] != first["task"]
    assert Task.objects.count() == 2


def test_a_view_that_fails_leaves_neither_key_nor_task(shop: Shop, charge: Any):
    with pytest.raises(Boom):
        post(charge, "k", fails=True, amount="5", card="4242")
    assert Task.objects.count() == SubmissionKey.objects.count() == 0
    assert post(charge, "k", amount="6", card="4242")[0] == 202
    key = SubmissionKey.objects.get()
    assert (key.pk, key.task.name, key.shape) == ("charge/7/k", "shop.charge", [[], {"amount": "text", "card": "text"}])


def test_what_was_submitted_runs_in_a_test_once(shop: Shop, charge: Any):
    with transaction.atomic():
        handles = [mirepoix.submit_once(charge, "k", ("5", "4242")) for _ in range(2)]
        assert [one.name for one in run_tasks()] == ["shop.charge"]
        assert {handle.outcome() for handle in handles} == {"charged 5"}
        assert handles[1].state == "succeeded"
