"""The group: how it is started, and how it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import fork_server
from mirepoix.cli.main import mirepoix
from pace import DEADLINE_S

APP = """
from celery import Celery
import mirepoix

app = Celery("shop")
mirepoix.install(app, "{url}")
"""


def run(*command, folder=None, **env):
    return fork_server.run([sys.executable, "-m", *command], folder or Path.cwd(), env, timeout_s=DEADLINE_S)


@pytest.fixture
def folder(tmp_path, ledger_url, ledger):
    ledger.worker("w1")
    (tmp_path / "shop.py").write_text(APP.format(url=ledger_url))
    return tmp_path


@pytest.mark.parametrize("command", [["celery", "-A", "shop", "mirepoix"], ["mirepoix.cli", "--app", "shop"]])
def test_it_runs_under_celery_and_on_its_own(folder, command):
    ended = run(*command, "health", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "well"


def test_the_app_may_come_from_the_environment(folder):
    assert run("mirepoix.cli", "health", folder=folder, MIREPOIX_APP="shop").returncode == 0


def test_what_is_typed_wins_over_the_environment(folder):
    ended = run("mirepoix.cli", "--app", "shop", "health", folder=folder, MIREPOIX_LEDGER="sqlite:///nowhere.db")
    assert ended.returncode == 0, ended.stdout


def test_a_leased_task_is_revoked_through_the_app(folder, ledger):
    ledger.send("a")
    ledger.lease("w1")
    ended = run("mirepoix.cli", "--app", "shop", "cancel", "a", "--json", folder=folder)
    assert json.loads(ended.stdout)["done"] == [{"id": "a", "did": "asked its worker not to start it"}], ended.stderr


@pytest.mark.parametrize("option", [[], ["--terminate"]])
def test_a_task_of_a_worker_that_is_gone_is_not_called_revoked(folder, ledger, option):
    """As after a backup was restored: nobody would obey, and the next worker would run it again."""
    ledger.send("a")
    ledger.lease("w1")
    ledger.passes(1_000)
    ended = run("mirepoix.cli", "--app", "shop", "cancel", "a", *option, "--json", folder=folder)
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["done"]) == (1, []), ended.stderr
    assert said["not_done"][0]["why"].startswith("its worker is not alive: start a worker, which takes it back")


def failing(*words, **env):
    result = CliRunner().invoke(mirepoix, words, env={"MIREPOIX_APP": None, "MIREPOIX_LEDGER": None, **env})
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.count("\n") == 1, result.stderr
    return result


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["status"], "No ledger is named"),
        (["--app", "no_such_module", "status"], "there is no module 'no_such_module'"),
        (["--app", "json", "status"], "'json' was not found"),
        (["--app", "json:dumps", "status"], "not a Celery app"),
        (["--ledger", "oracle://x", "status"], "oracle://"),
        (["--ledger", "sqlite:////nowhere/x.db", "status"], "does not exist"),
        (["--ledger", "postgresql://a:s3cret@127.0.0.1:1/x", "status"], "cannot be reached"),
    ],
)
def test_a_wrong_start_is_one_line_with_the_remedy(words, says):
    result = failing(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["tasks"], ["show", "x"], ["retry", "x"], ["prune", "--older-than", "1d"]]
)
def test_a_database_without_tables_is_told_to_migrate(empty_url, command):
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    result = failing("--ledger", empty_url, *command)
    assert result.exit_code == 2
    assert "migrate" in result.stderr


def test_a_wrong_path_makes_no_empty_ledger(tmp_path):
    failing("--ledger", f"sqlite:///{tmp_path}/typo.db", "status")
    assert not list(tmp_path.iterdir())


def test_health_tells_a_ledger_it_cannot_reach_from_a_sick_one(empty_url):
    report = CliRunner().invoke(mirepoix, ["--ledger", "postgresql://a@127.0.0.1:1/x", "health", "--json"])
    assert (report.exit_code, json.loads(report.stdout)["status"]) == (3, "unknown")
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    report = CliRunner().invoke(mirepoix, ["--ledger", empty_url, "health"])
    assert report.exit_code == 3
    assert "?    schema" in report.stdout


def test_migrate_makes_the_tables_and_is_content_the_second_time(empty_url):
    for applied in (["0000_migrations", "0001_initial"], []):
        report = CliRunner().invoke(mirepoix, ["--ledger", empty_url, "migrate", "--json"])
        assert report.exit_code == 0, report.output
        assert json.loads(report.stdout)["applied"][:2] == applied


def test_prune_deletes_what_finished_long_ago_and_nothing_else(cli, ledger, ended):
    ended("succeeded", "old")
    ended("failed", "kept")
    ledger.passes(8 * 86400)
    ended("succeeded", "new")
    dry = cli.json("prune", "--older-than", "7d", "--dry-run")
    assert (dry["would_prune"], dry["finished"], dry["finished_in_a_day"]) == (1, 2, 1)
    assert dry["bytes"] > 0
    told = cli("prune", "--older-than", "7d", "--dry-run").stdout
    assert told.startswith("Would prune 1 task that finished more than 7d ago.\n")
    assert cli("prune", "--older-than", "7d").stdout == "Pruned 1 task that finished more than 7d ago.\n"
    assert set(ledger.states()) == {"kept", "new"}


def test_help_needs_no_app_and_no_database():
    for command in ([], *([name] for name in mirepoix.list_commands(click.Context(mirepoix)))):
        result = CliRunner().invoke(mirepoix, [*command, "--help"])
        assert result.exit_code == 0


def test_the_list_of_commands_is_never_cut_short():
    listed = CliRunner().invoke(mirepoix, ["--help"]).output.partition("Commands:")[2]
    assert "..." not in listed
    assert len(listed.split("\n")) == len(mirepoix.list_commands(click.Context(mirepoix))) + 2


def test_only_the_demo_imports_the_demo(ledger_url: str):
    code = f"""
import sys
from mirepoix.cli.main import mirepoix

mirepoix(["--ledger", {ledger_url!r}, "tasks"], standalone_mode=False)
assert not [name for name in sys.modules if name.startswith("mirepoix.demo")]
mirepoix(["demo", "--help"], standalone_mode=False)
assert "mirepoix.demo.command" in sys.modules
"""
    ended = fork_server.run([sys.executable, "-c", code], Path.cwd(), {}, timeout_s=DEADLINE_S)
    assert ended.returncode == 0, ended.stderr
