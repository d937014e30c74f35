"""`mirepoix signatures`: lock what tasks take, and check what changed."""

from __future__ import annotations

import json
import sys

import pytest
from celery import _state
from click.testing import CliRunner

from mirepoix.cli.main import mirepoix

HEAD = """
from celery import Celery

app = Celery("shop", broker="memory://", set_as_current=False)
"""
TASK = """
@app.task(name="{name}"{options})
def task({parameters}): ...
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The code of a shop: ``shop(charge="order, amount")`` writes it anew, ``shop.run("check")`` runs a command."""
    monkeypatch.setattr(_state, "_on_app_finalizers", _state._on_app_finalizers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Shop(tmp_path)
    sys.modules.pop("a_shop", None)


class Shop:
    def __init__(self, folder):
        self.folder = folder
        self.finalizers = frozenset(_state._on_app_finalizers)
        self.lock = folder / "mirepoix.signatures.lock"

    def __call__(self, options="", **tasks):
        code = [TASK.format(name=f"shop.{name}", options=options, parameters=taken) for name, taken in tasks.items()]
        (self.folder / "a_shop.py").write_text(HEAD + "".join(code))
        return self

    def run(self, *words, code=0, app="a_shop", columns=80):
        sys.modules.pop("a_shop", None)
        _state._on_app_finalizers = set(self.finalizers)  # Celery gives an app's tasks to all others of the process
        start = ["--app", app] if app else []
        environment = {"COLUMNS": str(columns), "MIREPOIX_APP": None, "MIREPOIX_LEDGER": None}
        result = CliRunner().invoke(mirepoix, [*start, "signatures", *words], env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def locked(self, **tasks):
        self(**tasks).run("lock")
        return self


def test_a_lock_is_written_and_then_the_check_is_content(shop):
    shop(charge="order, amount=0")
    assert "1 task written to mirepoix.signatures.lock. Commit it." in shop.run("lock").stdout
    assert json.loads(shop.lock.read_text())["tasks"]["shop.charge"]["version"] == 1
    assert shop.run("check").stdout == "1 task, all as locked in mirepoix.signatures.lock.\n"


def test_a_lock_that_is_up_to_date_is_not_touched(shop):
    shop.locked(charge="order")
    before = shop.lock.stat().st_mtime_ns
    assert "up to date: 1 task" in shop.run("lock").stdout
    assert shop.lock.stat().st_mtime_ns == before
    assert [one.name for one in shop.folder.glob("*.lock*")] == [shop.lock.name]


def test_writing_the_lock_prints_what_changed(shop):
    shop.locked(charge="order")
    out = shop(charge="order, amount").run("lock").stdout
    assert "amount was added without a default." in out
    assert shop.run("check").exit_code == 0


def test_a_change_is_told_with_its_verdict_both_ways_and_the_remedy(shop):
    shop.locked(charge="order", mail="to")
    out = shop(charge="order, amount", mail="to").run("check", code=1).stdout
    assert [line.rstrip() for line in out.splitlines()] == [
        "shop.charge",
        "  amount was added without a default.",
        "    old payloads, new code  parks: missing amount, as in charge(order=·)",
        "    new payloads, old code  parks: unexpected keyword amount, as in",
        "                            charge(amount=·, order=·)",
        "    fix                     Give amount a default, or raise the task's version",
        "                            and write an upcaster.",
        "",
        "1 change in 1 task: 1 parks.",
        (
            "mirepoix.signatures.lock is out of date. If you want these changes, "
            "run mirepoix --app a_shop signatures lock."
        ),
    ]


def test_a_safe_change_takes_one_line_and_fails_until_it_is_locked(shop):
    shop.locked(charge="order=0")
    ended = shop(charge="order=1").run("check", code=1)
    assert "payloads that leave it out get that.  safe" in " ".join(ended.stdout.split()).replace(" safe", "  safe")
    assert "run mirepoix --app a_shop signatures lock" in ended.stdout
    shop.run("check", "--allow-outdated")


@pytest.mark.parametrize(
    ("old", "new", "code", "both_ways"),
    [
        ("a", "a, b=0", 0, 1),  # what old workers park is taken up by new ones
        ("a", "a, b", 1, 1),
        ("a, b", "b, a", 1, 1),
        ("a: int", "a: str", 0, 0),
        ("a=0", "a", 1, 1),
        ("a", "a=0", 0, 1),
    ],
)
def test_with_an_old_lock_only_what_harms_fails(shop, old, new, code, both_ways):
    shop.locked(charge=old)
    shop(charge=new).run("check", "--allow-outdated", code=code)
    shop.run("check", "--allow-outdated", "--both-ways", code=both_ways)


def test_a_new_task_is_no_harm_and_a_removed_one_is(shop):
    shop.locked(charge="order")
    shop(charge="order", mail="to").run("check", "--allow-outdated")
    shop.run("lock")
    out = shop(charge="order").run("check", "--allow-outdated", code=1).stdout
    assert "The task was removed, or its name was changed." in out


def test_a_raised_version_without_an_upcaster_is_told(shop):
    shop.locked(charge="order, amount")
    out = shop(", version=2", charge="amount, order").run("check", code=1).stdout
    assert "no upcaster takes a payload of version 1 to the next" in " ".join(out.split())
    assert "wrong" not in out


def test_json_holds_it_all(shop):
    shop.locked(charge="order")
    told = json.loads(shop(charge="order, amount=0").run("check", "--json", code=1).stdout)
    (change,) = told.pop("changes")
    assert told == {
        "file": "mirepoix.signatures.lock",
        "tasks": 1,
        "is_outdated": True,
        "verdict": "parks",
        "old_to_new": "safe",
        "new_to_old": "parks",
    }
    assert (change["task"], change["what"], change["parameter"]) == ("shop.charge", "parameter added", "amount")
    assert (change["old_to_new"], change["new_to_old"]) == ("safe", "parks")


def test_another_file_may_be_named(shop):
    shop(charge="order").run("lock", "--file", "other.lock")
    shop.run("check", "--file", "other.lock")
    assert not shop.lock.exists()


def test_without_a_lock_the_check_says_how_to_write_it(shop):
    ended = shop(charge="order").run("check", code=2)
    assert "Write it with: mirepoix --app a_shop signatures lock" in ended.stderr
    assert ended.stdout == ""


def test_a_broken_lock_is_an_error_and_is_written_anew(shop):
    shop.locked(charge="order")
    shop.lock.write_text("<<<<<<< HEAD\n")
    assert "unresolved merge at line 1" in shop.run("check", code=2).stderr
    assert "The file is replaced." in shop.run("lock").stderr
    shop.run("check")


def test_a_lock_of_a_newer_format_is_never_overwritten(shop):
    shop.locked(charge="order")
    shop.lock.write_text(shop.lock.read_text().replace('"format": 1', '"format": 9'))
    assert "Upgrade Mirepoix" in shop.run("lock", code=2).stderr
    assert '"format": 9' in shop.lock.read_text()


def test_it_needs_an_app_with_tasks(shop):
    assert "This needs the app" in shop(charge="a").run("check", app=None, code=2).stderr
    assert "no tasks of its own" in shop().run("lock", code=2).stderr


def test_a_module_of_tasks_that_fails_is_told(shop):
    shop(charge="order")
    with (shop.folder / "a_shop.py").open("a") as code:
        code.write("\napp.conf.imports = ['nowhere.tasks']\n")
    assert "No module named 'nowhere'" in shop.run("lock", code=2).stderr


def test_a_file_that_cannot_be_written_is_told(shop):
    assert "cannot be written" in shop(charge="a").run("lock", "--file", "no/such/folder.lock", code=2).stderr


def test_the_database_of_the_ledger_is_not_needed(shop):
    shop(charge="order")
    with (shop.folder / "a_shop.py").open("a") as code:
        code.write("\nimport mirepoix\nmirepoix.install(app, 'postgresql://nobody@127.0.0.1:1/none')\n")
    shop.run("lock")
    shop.run("check")
