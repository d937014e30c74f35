"""The same by a broker: what one release's code cannot take waits in the ledger for another's."""

from __future__ import annotations

from collections import Counter

import pytest
from test_releases import OLD, given, ran_once, sent, worker
from workers import Shop

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("release", [1, 3], ids=["rollback", "upcasters"])
def test_what_an_incompatible_deploy_parked_runs_in_the_end(shop: Shop, release: int):
    ids = sent(shop, 1, *OLD)
    bad = worker(shop, 2)
    shop.wait(ids, "parked")
    assert Counter(shop.row(id)["parked_for"] for id in ids) == {"task": 20, "arguments": 40}
    worker(shop, release)
    ran_once(shop, ids)
    more = ({}, {"note": "x"}) if release == 1 else ({"currency": "EUR"}, {})
    assert given(shop, ids) == [
        *({"order": n} for n in range(20)),
        *({"order": n, **more[0]} for n in range(20)),
        *({"order": n, **more[1]} for n in range(20)),
    ]
    assert bad.is_running


def test_what_a_new_sender_writes_waits_for_a_new_worker(shop: Shop):
    worker(shop, 1)
    ids = sent(shop, 3, ("invoice", [1]), ("charge", [2, "USD"]), ("ship", [3]))
    shop.wait(ids, "parked")
    worker(shop, 3)
    ran_once(shop, ids)
    assert given(shop, ids) == [{"order": 1}, {"order": 2, "currency": "USD"}, {"order": 3}]
