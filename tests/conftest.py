"""A fresh, migrated ledger for every test, on each database. What a run tests, and what a failure shows."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import _state
from hypothesis import HealthCheck, settings
from kombu.transport import TRANSPORT_ALIASES

import combinations
from brokers import RabbitServer, RedisServer, started
from databases import DATABASES, TEMPLATE, empty_mariadb, mariadb_database, postgresql_database
from driver import Ledger, migrate_ledger
from logs import Log
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.url import source_for
from pace import pace
from servers import (
    MariadbServer,
    MariadbTemplate,
    PostgresServer,
    Served,
    mariadb,
    require_postgres,
    run_mariadb,
)

LONGEST = (
    "tests/prefect/",
    "tests/test_example_prefect.py",
    "tests/upgrades/",
    "tests/test_example_shop.py",
    "tests/test_change_a_task_page.py",
)
"""Files that begin first. Prefect's tests are neighbours, so that few processes of a run start its server."""

LEFT_OUT = pytest.StashKey[Counter[str]]()

os.environ.setdefault("PYTEST_TIMEOUT", f"{180 * pace():.0f}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--all`` and ``--quick``."""
    parser.addoption(
        "--all",
        action="store_const",
        dest="combinations",
        const="all",
        default="pairs",
        help="test every combination of database, pool, broker and connection, not only each pair",
    )
    parser.addoption(
        "--quick",
        action="store_const",
        dest="combinations",
        const="first",
        help="test each promise on one combination only",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is left out yet. Examples are the same in each run, but those of ``--all``."""
    config.stash[LEFT_OUT] = Counter()
    settings.register_profile(
        "suite",
        deadline=None,  # a busy machine
        suppress_health_check=[HealthCheck.too_slow],  # is not a fault
        derandomize=config.option.combinations != "all",
        database=None,
    )
    settings.load_profile("suite")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the combinations that a default run need not test, after ``-k`` and ``-m`` have chosen.

    What takes longest begins first: a process that began it last would be waited for. An object's address in a name is
    refused: it differs in each process, and pytest-xdist then runs nothing.
    """
    if named := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give these tests names without addresses (ids=...): {', '.join(named)}")
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    if config.option.combinations == "all":
        return
    items[:], left_out = (combinations.first if config.option.combinations == "first" else combinations.choose)(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT].update(str(item.path.relative_to(config.rootpath)) for item in left_out)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that reports what this one left out, if they are two (pytest-xdist)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each process left out the same."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.section("left out")
        for line in combinations.summary(left_out):
            terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What servers and workers say from now on belongs to this test."""
    Log.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show with a failure what its servers and workers said."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", said) for name, said in Log.since_then()]
    return report


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery gives an app's tasks to all others of the process, those of later tests, too."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the tests' own, with one migrated database to copy. A test that kills it need not revive it."""
    server = PostgresServer(require_postgres())
    try:
        server.start()
        with server.connected() as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate_ledger(server.url(TEMPLATE))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A MariaDB of the tests' own. A test that kills it need not revive it."""
    server = mariadb()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb_template(mariadb_server: MariadbServer) -> MariadbTemplate:
    """One migrated database to copy."""
    mariadb_server.start()
    run_mariadb(mariadb_server, f"CREATE DATABASE {TEMPLATE}")
    migrate_ledger(mariadb_server.url(TEMPLATE))
    return MariadbTemplate(mariadb_server, TEMPLATE)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A RabbitMQ that several tests share; a test that kills it starts it again."""
    yield from started(RabbitServer, "rabbitmq")


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis that keeps nothing on disk."""
    yield from started(RedisServer, "redis")


@pytest.fixture
def estimating(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a broker, in this process, that only estimates how many messages wait."""
    monkeypatch.setitem(TRANSPORT_ALIASES, "estimating", "estimating:Transport")
    return "estimating://"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    migrate_ledger(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """A fresh migrated ledger in PostgreSQL."""
    yield from postgresql_database(postgresql_server, TEMPLATE)


@pytest.fixture
def mariadb_url(mariadb_server: MariadbServer, mariadb_template: MariadbTemplate) -> Iterator[str]:
    """A fresh migrated ledger in MariaDB."""
    yield from mariadb_database(mariadb_server, mariadb_template.copy)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated ledger in an SQLite file."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=DATABASES)
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated ledger, once for each database."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest) -> Served:
    """A fresh migrated ledger and its server, once for each that is one."""
    kind = request.param
    return Served(request.getfixturevalue(f"{kind}_server"), request.getfixturevalue(f"{kind}_url"))


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    elif request.param == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        yield from mariadb_database(server, lambda name: empty_mariadb(server, name))
    else:
        yield from postgresql_database(request.getfixturevalue("postgresql_server"))


@pytest.fixture
def source(ledger_url: str) -> Iterator[Source]:
    """The ledger's database."""
    source = source_for(ledger_url)
    yield source
    source.close()


@pytest.fixture
def connection(source: Source) -> Iterator[OwnConnection]:
    """One connection to the ledger; ``with connection.transaction() as tx:`` begins and commits."""
    connection = source.open()
    yield connection
    connection.close()


@pytest.fixture
def ledger(source: Source) -> Iterator[Ledger]:
    """The ledger driven step by step, each step a committed transaction of its own."""
    with Ledger(source) as ledger:
        yield ledger
