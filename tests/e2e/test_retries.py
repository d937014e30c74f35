"""Retry policies in a real worker: what is tried again, how often, and what the ledger says of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from workers import Shop, until

pytestmark = pytest.mark.slow

KINDS = ("pay_bank", "pay_bank_async", "pay_bank_transactional")


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def bank_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_ledger
) -> Iterator[Shop]:
    """A shop whose worker has the tasks with policies, and a policy for all others."""
    folder = tmp_path_factory.mktemp(f"retries-{request.param}")
    with Shop(folder / "shop", shared_ledger(request.param, folder)) as shop:
        default = {"transient": ["builtins.KeyError"], "base_s": 0.05, "max_delay_s": 0.1, "max_attempts": 3}
        shop.worker("w1", "--include", "retrying", retries=default)
        yield shop


def send(shop: Shop, name: str, *args: object) -> str:
    return str(shop.app.send_task(f"retrying.{name}", args=args).id)


def outcomes(shop: Shop, id: str) -> list[str]:
    return [attempt["outcome"] for attempt in shop.ledger.attempts(id)]


@pytest.mark.parametrize("name", KINDS)
def test_a_task_is_tried_as_often_as_its_policy_says_and_its_history_is_kept(bank_shop: Shop, name: str) -> None:
    id = send(bank_shop, name, "never")
    bank_shop.wait(id, "failed")
    row = bank_shop.row(id)
    assert outcomes(bank_shop, id) == ["retried", "retried", "retried", "failed"]
    assert (row["retries"], row["deaths"], row["fence"]) == (3, 0, 4)
    assert row["reason"] == "Away: the bank is away (given up after 4 attempts of 4)"
    assert {a["error_type"] for a in bank_shop.ledger.attempts(id)} == {"retrying.Away"}
    assert {a["error"] for a in bank_shop.ledger.attempts(id)} == {"Away: the bank is away"}
    assert len({a["failure_group"] for a in bank_shop.ledger.attempts(id)}) == 1


@pytest.mark.parametrize("name", KINDS)
def test_an_error_that_cannot_be_pickled_is_told_as_it_is_in_every_attempt(bank_shop: Shop, name: str) -> None:
    id = send(bank_shop, name, "refused")
    bank_shop.wait(id, "failed")
    assert outcomes(bank_shop, id) == ["retried", "retried", "retried", "failed"]
    assert {a["error_type"] for a in bank_shop.ledger.attempts(id)} == {"urllib.error.HTTPError"}
    assert {a["error"] for a in bank_shop.ledger.attempts(id)} == {"HTTPError: HTTP Error 503: Service Unavailable"}
    assert len({a["failure_group"] for a in bank_shop.ledger.attempts(id)}) == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_permanent_error_is_not_tried_again(bank_shop: Shop, name: str) -> None:
    id = send(bank_shop, name, "wrong")
    bank_shop.wait(id, "failed")
    assert outcomes(bank_shop, id) == ["failed"]
    assert bank_shop.row(id)["reason"] == "ValueError: wrong (no retry: its policy takes this error as permanent)"


def test_a_retry_waits_as_long_as_the_other_side_asked(bank_shop: Shop) -> None:
    id = send(bank_shop, "pay_bank", "after")
    bank_shop.wait(id, "succeeded")
    first, second = bank_shop.effects(id, "begin")
    assert second.at - first.at >= 0.69
    assert bank_shop.row(id)["retries"] == 1


def test_a_task_is_given_up_by_its_age(bank_shop: Shop) -> None:
    id = send(bank_shop, "pay_bank_soon")
    bank_shop.wait(id, "failed")
    assert "given up: its next attempt would come later than 0.5 s" in bank_shop.row(id)["reason"]


def test_a_death_is_no_retry(bank_shop: Shop) -> None:
    bank_shop.make("die-now")
    id = send(bank_shop, "pay_bank", "die")
    bank_shop.wait(id, "failed")
    row = bank_shop.row(id)
    assert outcomes(bank_shop, id)[1:] == ["retried", "retried", "retried", "failed"]
    assert (row["retries"], row["deaths"]) == (3, 1)


def test_where_celery_has_given_up_no_policy_goes_on(bank_shop: Shop) -> None:
    id = send(bank_shop, "pay_bank_as_celery_does")
    bank_shop.wait(id, "failed")
    assert bank_shop.runs(id) == 2
    assert bank_shop.row(id)["reason"] == "Away: the bank is away"


def test_the_apps_policy_is_for_every_task_that_says_nothing(bank_shop: Shop) -> None:
    id = bank_shop.send("again_by_itself")
    by_celery = bank_shop.send("again", 2)
    wrong = bank_shop.send("fail")
    bank_shop.wait([id, by_celery, wrong])
    assert bank_shop.runs(id) == 3  # by autoretry_for and max_retries=2, and not once more
    assert bank_shop.state(by_celery) == "succeeded"
    assert outcomes(bank_shop, wrong) == ["failed"]


def test_what_waits_says_which_attempt_it_is_and_what_for(bank_shop: Shop) -> None:
    id = send(bank_shop, "pay_bank_later")
    until(lambda: bank_shop.row(id)["retries"] == 1, "it waits for its next attempt")
    shown = bank_shop.celery("mirepoix", "show", id).stdout
    assert "scheduled, due in" in shown
    assert "Away: the bank is away (attempt 2 of 10 in 300.0 s)" in " ".join(shown.split())
