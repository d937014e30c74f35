"""`mirepoix why`: the answer, the facts and the next step."""

from __future__ import annotations

from types import SimpleNamespace

import celery
import click
from click.testing import CliRunner

import mirepoix
from mirepoix.cli.main import mirepoix as command


def test_it_says_why_a_task_waits_and_what_to_do(cli, ledger):
    ledger.worker("w1")
    ledger.send("elsewhere", queue="mail")
    said = cli("why", "elsew").stdout
    assert said.splitlines() == [
        "shop.pay  elsewhere",
        "No live worker consumes queue 'mail'.",
        "  Live workers consume: 'celery'.",
        "  Next: Start a worker for queue 'mail': celery -A YOUR_APP worker -Q mail",
    ]
    assert "No live worker consumes queue 'mail'." in cli("show", "elsewhere").stdout
    found = cli.json("why", "elsewhere")
    assert (found["id"], found["state"], found["why"]["is_stuck"]) == ("elsewhere", "pending", True)
    assert "The ledger has no task 'nothing'" in cli("why", "nothing", code=2).stderr


def test_the_next_step_names_the_app_that_was_named(monkeypatch, cli, ledger):
    ledger.worker("w1")
    ledger.send("elsewhere", queue="mail")
    app = celery.Celery("shop", set_as_current=False)
    mirepoix.install(app, cli.url)
    django = CliRunner().invoke(
        command, ["why", "elsewhere"], prog_name="manage.py mirepoix", obj=SimpleNamespace(app=app)
    )
    assert "celery -A shop worker -Q mail" in django.output
    monkeypatch.setattr("sys.argv", ["celery", "-A", "shop.tasks", "mirepoix", "why", "elsewhere"])
    celerys = click.Group("celery", {"mirepoix": command})
    plugin = CliRunner().invoke(celerys, ["mirepoix", "why", "elsewhere"], obj=SimpleNamespace(app=app))
    assert "celery -A shop.tasks worker -Q mail" in plugin.output
