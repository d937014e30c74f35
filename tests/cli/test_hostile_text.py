"""Nothing that a row holds is obeyed by the terminal it is printed on, and no error holds half a password."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from mirepoix.cli.main import mirepoix
from mirepoix.connect.psycopg import without_password
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import workers
from mirepoix.records import Worker

HOSTILE = "w\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
COMMANDS = (
    *("status", "health", "status --all", "tasks", "tasks --with-args", "show a", "show f", "failures", "parked"),
    *("alerts", "reconcile", "requeue a --dry-run"),
)


@pytest.fixture
def hostile(ledger):
    for id in (f"w1{HOSTILE}", "dead"):
        worker = Worker(id=id, name=f"{id}{HOSTILE}", host=HOSTILE, pid=1, pool=HOSTILE, queues=(HOSTILE, "celery"))
        ledger.do(workers.register, worker, 1000.0)
    ledger.send("a", name=HOSTILE, queue=HOSTILE, headers={"argsrepr": HOSTILE})
    ledger.send("b", f"c{HOSTILE}", name=HOSTILE, body=f'[["{HOSTILE.encode("unicode_escape").decode()}"], {{}}, {{}}]')
    ledger.send("f", name=HOSTILE, priority=9)
    (lease,) = (one.lease for one in ledger.take(f"w1{HOSTILE}", 1))
    ledger.start(lease)
    ledger.fail(lease)
    ledger.write("UPDATE mirepoix_worker SET reason = name")
    ledger.start(ledger.lease("dead"))
    ledger.passes(400)
    ledger.die("dead")
    ledger.passes(10)


def test_no_control_character_of_a_row_reaches_the_terminal(hostile, cli):
    for words in [command.split() + json for command in COMMANDS for json in ([], ["--json"])]:
        said = CliRunner().invoke(mirepoix, ["--ledger", cli.url, *words], env={"COLUMNS": "160", "MIREPOIX_APP": None})
        assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
        assert not [c for c in said.output if not c.isprintable() and c != "\n"], (words, said.output)


SLIPPED = [
    *(f"{scheme}://u:s3c/ret9@db:5432/shop" for scheme in ("postgresql", "mysql")),
    *("postgresql://u:12/s3cret@db/shop", "mysql://u:12/s3cret@db/shop", "postgresql://u:s3@cret@db/shop"),
    *("postgresql://u:s3?cret@db/shop", "mysql://u:s3#cret@db/shop", "postgresql://u:12/s3?cret@db/shop"),
    *("postgresql://u:s[3cret@db/shop", "mysql://u:s3c]ret@db/shop", "host=db password=s3cret", "u:s3cret@db/shop"),
    "password=s3cret://",
]


@pytest.mark.parametrize("url", SLIPPED)
def test_a_password_that_breaks_its_url_is_not_printed(url):
    said = CliRunner().invoke(mirepoix, ["--ledger", url, "status"], env={"MIREPOIX_APP": None})
    assert said.exit_code == 2, said.output
    assert said.output.count("\n") == 1, said.output
    assert not [piece for piece in ("s3", "cret", "ret9") if piece in said.output], said.output


@pytest.mark.parametrize(
    "url",
    [
        *(
            "postgresql:///shop?host=/run/pg&user=a@b",
            "postgresql://u:p%2Fw@[::1]:5432/shop",
            "postgresql://%2Frun/shop",
        ),
        *("postgresql://u@a:5432,b:5433/shop?target_session_attrs=read-write", "mysql://u:p@ss@db:3306/shop"),
        *("mysql://u:p@[::1]/shop", "mysql:///shop?unix_socket=/run/my.sock", "postgresql://u:p:w@db/shop"),
    ],
)
def test_what_drivers_read_as_it_is_meant_is_taken(url):
    assert source_for(url).label


def test_a_label_holds_no_secret_of_an_option():
    said = without_password(
        "postgresql://db/shop?sslpassword=s3cret&sslkey=/k&password=s3cret&oauth_client_secret=s3cret"
    )
    assert "s3cret" not in said
    assert "sslkey=/k" in said
    with pytest.raises(ConfigurationError, match="%2F"):
        source_for("postgresql://u:p/w@db/shop")
