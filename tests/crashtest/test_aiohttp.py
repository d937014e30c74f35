"""Tasks that send requests with aiohttp."""

from __future__ import annotations

import asyncio
import uuid

import aiohttp
import pytest
from corpus.apps import ledger, plain
from web import Web

import mirepoix
from mirepoix.crashtest.check import explore

PAY = "https://pay.example/charges"


def found(task: object, *args: object, **options: object) -> list[str]:
    return [finding.code for finding in explore(task, args, django=False, **options).findings]


async def send(method, url, *, session_headers=None, **options):
    async with (
        aiohttp.ClientSession(headers=session_headers) as session,
        session.request(method, url, **options) as answer,
    ):
        answer.raise_for_status()
        return (await answer.json(), answer.ok, answer.content_type, str(answer.url))


@plain.task(shared=False, name="aiohttp_charges")
def charges(url):
    asyncio.run(send("POST", url, json={"order": 1}))


@ledger.task(shared=False, name="aiohttp_charges_in_a_coroutine")
async def charges_in_a_coroutine(url):
    await send("POST", url, data={"order": "1"}, params={"dry": "0"}, session_headers={"X-Shop": "1"})
    await send("PUT", f"{url}/1", data=b"paid")


@ledger.task(shared=False, name="aiohttp_charges_by_key")
async def charges_by_key(url):
    await send("POST", url, json={"order": 1}, session_headers={"Idempotency-Key": mirepoix.idempotency_key("charge")})


@ledger.task(shared=False, name="aiohttp_puts")
async def puts(url):
    await send("GET", url)
    SAID.append(await send("PUT", url, params=[("a", "1"), ("b", "2")]))


SAID = []


@ledger.task(shared=False, name="aiohttp_charges_both_at_once")
async def charges_both_at_once(url):
    await asyncio.gather(send("POST", f"{url}/a"), send("POST", f"{url}/b"))


@ledger.task(shared=False, name="aiohttp_sends_a_form")
async def sends_a_form(url):
    form = aiohttp.FormData({"order": "1"})
    form.add_field("note", "fragile")
    await send("POST", url, data=form)


@ledger.task(shared=False, name="aiohttp_puts_under_a_new_name")
async def puts_under_a_new_name(url):
    await send("PUT", f"{url}/{uuid.uuid4()}?signed={uuid.uuid4()}", json={"order": 1})


@ledger.task(shared=False, name="aiohttp_puts_what_is_signed_anew")
async def puts_what_is_signed_anew(url):
    await send("PUT", f"{url}/1?signed={uuid.uuid4()}", json={"order": 1})


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (charges, ["duplicate-http:POST {url}"]),
        (charges_in_a_coroutine, ["duplicate-http:POST {url}?dry=0"]),
        (charges_by_key, []),
        (puts, []),
        (charges_both_at_once, ["duplicate-http:POST {url}/*"]),  # one line sends both
        (puts_under_a_new_name, ["duplicate-http:PUT {url}/<uuid>?signed=<uuid>"]),
        (puts_what_is_signed_anew, []),
        (sends_a_form, ["duplicate-http:POST {url}"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_request_is_a_point(task, expected, web: Web):
    url = f"{web.url}/charges"
    assert found(task, url) == [code.format(url=url) for code in expected]
    assert found(task, PAY, http=lambda method, url, body: {"id": 1}) == [code.format(url=PAY) for code in expected]


def test_nothing_but_the_service_of_the_test_is_asked(web: Web):
    asked = []

    def service(method, url, body):
        asked.append((method, url, body))
        return {"id": 7}

    url = f"{web.url}/charges"
    report = explore(charges_by_key, (url,), django=False, http=service)
    assert report.explored.unmodelled == ()
    assert web.requests == []
    assert asked[0] == ("POST", url, '{"order": 1}')


def test_what_the_service_says_is_a_response(web: Web):
    SAID.clear()
    explore(puts, (PAY,), django=False, http=lambda method, url, body: {"id": 7})
    assert SAID[0] == ({"id": 7}, True, "application/json", f"{PAY}?a=1&b=2")


def test_a_form_is_told_by_its_fields(web: Web):
    bodies = []
    explore(sends_a_form, (PAY,), django=False, http=lambda method, url, body: bodies.append(body) or {})
    assert bodies[0] == '[["order", "1"], ["note", "fragile"]]'
