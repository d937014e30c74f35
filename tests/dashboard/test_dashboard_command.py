"""`mirepoix dashboard`: where it listens, with which credentials, and what it prints. A real server, once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner

import mirepoix as package
from mirepoix.cli.main import mirepoix
from mirepoix.dashboard.access import verifies
from mirepoix.dashboard.server import is_loopback


@pytest.fixture
def ledger_url(sqlite_url):
    """The command reads the ledger through what other tests try on every database."""
    return sqlite_url


def run(url, *words, app=None, answer=None, **environment):
    named = ["--ledger", url] if app is None else []
    obj = None if app is None else SimpleNamespace(app=app)
    return CliRunner().invoke(mirepoix, [*named, "dashboard", *words], env=environment, obj=obj, input=answer)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.example.org"])
def test_it_listens_for_other_hosts_only_with_a_credential(ledger_url, host):
    assert not is_loopback(host)
    ran = run(ledger_url, "--host", host, "--port", "0")
    assert ran.exit_code == 2
    assert "has no credential" in ran.stderr


def test_a_wrong_setting_is_one_line(ledger_url):
    app = Celery("shop", set_as_current=False)
    package.install(app, ledger_url, dashboard_users={"ana": "boss scrypt$a$b"})
    ran = run(ledger_url, "--port", "0", app=app)
    assert ran.exit_code == 2
    assert "must begin with roles" in ran.stderr
    assert run(ledger_url, "--prefix", "jobs").exit_code == 2


def test_it_makes_a_hash_of_a_password(ledger_url):
    ran = run(ledger_url, "--hash-password", answer="a b\na b\n")
    assert verifies(re.search(r"scrypt\$\S+", ran.stdout)[0], "a b")


def test_it_serves_the_pages_to_who_has_the_link_and_ends_when_asked(ledger_url):
    command = [sys.executable, "-m", "mirepoix.cli", "--ledger", ledger_url, "dashboard", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONUNBUFFERED": "1"}) as server:
        link = server.stdout.readline().strip()
        try:
            site = link.partition("/enter")[0]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{site}/tasks")
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(link) as answer:
                assert "No worker is alive" in answer.read().decode()
                assert "server" not in {name.lower() for name in answer.headers}
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)


def test_without_the_extra_it_says_what_to_install(ledger_url, tmp_path: Path):
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('no starlette', name='starlette')")
    command = [sys.executable, "-m", "mirepoix.cli", "--ledger", ledger_url, "dashboard"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)})
    assert ran.returncode == 2
    assert "pip install 'mirepoix[dashboard]'" in ran.stderr.replace("\n", " ")
