"""Lists at the widths that people use: ids are whole, reasons give way first, no traceback is wrapped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mirepoix.cli.main import mirepoix
from mirepoix.records import AttemptFailure

WIDTHS = (80, 120, 160)
ID = "6513270e-269e-4d37-b2a7-4de452e6b438"
OTHER = "8e81973e-0bec-47b0-b898-d190f9ebdacc"
NAME = "shop.orders.tasks.confirm.send_order_confirmation_email"
SAID = "HTTPError: 503 Server Error: Service Unavailable for url: https://confirmations.internal/v2?tenant=eu-central-1"
LINE = f"    raise_for_status(response, {'x' * 200})"
TRACEBACK = f'Traceback (most recent call last):\n  File "/srv/shop/confirm.py", line 118, in confirm\n{LINE}\n{SAID}\n'


@pytest.fixture
def failed(ledger):
    ledger.worker("w")
    ledger.send(ID, name=NAME, queue="invoices-and-statements")
    ledger.send(OTHER, name=NAME, parent_id=ID)
    (taken,) = ledger.take("w", 1, queues=("invoices-and-statements",))
    ledger.start(taken.lease)
    ledger.fail(taken.lease, AttemptFailure(SAID, error_type="requests.HTTPError", traceback=TRACEBACK, pid=7))
    return ID


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("words", [("tasks",), ("tasks", "--args"), ("status",)])
def test_an_id_is_whole_at_every_width_whatever_the_error(cli, failed, columns, words):
    shown = cli(*words, columns=columns).stdout
    assert f"{ID}  " in shown or f"{ID}\n" in shown
    if words != ("tasks", "--args"):  # arguments are whole
        lists = [line for line in shown.splitlines()[2:] if not line.startswith("!")]  # findings are sentences
        assert max(map(len, lists)) <= columns


@pytest.mark.parametrize(
    ("columns", "seen"), [(80, "age  tries  name"), (120, "queue         name"), (160, "queue                name")]
)
def test_reasons_give_way_first_and_then_queues(cli, failed, columns, seen):
    heading, *rows = cli("tasks", "--state", "failed", columns=columns).stdout.splitlines()
    assert seen in heading
    assert ("what" in heading) is (columns > 80)
    assert "confirmation_email" in rows[0]  # of a name the end says more


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_line_of_a_story_is_wrapped_or_cut(cli, failed, columns):
    lines = cli("show", ID, columns=columns).stdout.splitlines()
    assert f"     {LINE}" in lines
    assert any(line.startswith(f"failed: {SAID}") for line in lines)
    assert any("it sent" in line and OTHER in line for line in lines)


def test_a_group_of_failures_is_listed_whole_and_its_traceback_not_wrapped(cli, failed):
    (group,) = cli.json("failures")["failures"]
    assert group["id"] in cli("failures").stdout
    assert f"  {LINE}" in cli("failures", "show", group["id"]).stdout.splitlines()


def test_nothing_is_cut_for_a_pipe(cli, failed):
    shown = CliRunner().invoke(mirepoix, ["--ledger", cli.url, "tasks"], env={"COLUMNS": None}).stdout
    assert SAID in shown


@pytest.mark.parametrize("called", ["manage.py mirepoix", "/srv/shop/manage.py mirepoix"])
def test_hints_in_django_are_commands_of_manage_py(cli, failed, called):
    shown = CliRunner().invoke(mirepoix, ["--ledger", cli.url, "show", ID], prog_name=called)
    assert f"\nmanage.py mirepoix retry {ID}\n" in shown.output
    unknown = CliRunner().invoke(mirepoix, ["--ledger", cli.url, "show", "nope"], prog_name=called)
    assert "See: manage.py mirepoix tasks\n" in unknown.output


def test_the_hint_of_a_missing_migration_is_a_command_of_manage_py(tmp_path):
    (tmp_path / "old.db").touch()
    asked = ["--ledger", f"sqlite:///{tmp_path}/old.db", "status"]
    assert "Run: mirepoix --app YOUR_APP migrate" in CliRunner().invoke(mirepoix, asked).output
    said = CliRunner().invoke(mirepoix, asked, prog_name="manage.py mirepoix").output
    assert "Run: manage.py mirepoix migrate (in Django: manage.py migrate)" in said


def test_a_hint_names_the_app_that_was_named(monkeypatch, cli_of, failed, ledger_url):
    import celery

    import mirepoix as package

    app = celery.Celery("shop", set_as_current=False)
    package.install(app, ledger_url)
    monkeypatch.setattr("sys.argv", ["celery", "-A", "shop", "mirepoix", "show", ID])
    result = CliRunner().invoke(_celerys(), ["mirepoix", "show", ID], obj=SimpleNamespace(app=app))
    assert f"celery -A shop mirepoix retry {ID}" in result.output


def _celerys():
    import click

    group = click.Group("celery")
    group.add_command(mirepoix)
    return group
