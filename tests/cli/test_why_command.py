"""`mirepoix why`: the answer, the facts and the next step."""

from __future__ import annotations


def test_it_says_why_a_task_waits_and_what_to_do(cli, ledger):
    ledger.worker("w1")
    ledger.send("elsewhere", queue="mail")
    said = cli("why", "elsew").stdout
    assert said.splitlines() == [
        "shop.pay  elsewhere",
        "No live worker consumes queue 'mail'.",
        "  Live workers consume: 'celery'.",
        "  Next: Start a worker with -Q mail.",
    ]
    assert "No live worker consumes queue 'mail'." in cli("show", "elsewhere").stdout
    found = cli.json("why", "elsewhere")
    assert (found["id"], found["state"], found["why"]["is_stuck"]) == ("elsewhere", "pending", True)
    assert "The ledger has no task 'nothing'" in cli("why", "nothing", code=2).stderr
