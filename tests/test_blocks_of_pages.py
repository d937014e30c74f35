"""Each block of code on a page for users is run by a test, or this file says why not."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

import fork_server
from pace import DEADLINE_S
from test_commands_of_pages import TYPED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    DOCS / "tutorial.md",
    *(page for folder in ("start", "how-to", "operate") for page in sorted((DOCS / folder).glob("*.md"))),
]
SHELL = {"console", "sh", "bash"}
RUN_HERE = {"python", "sql"}
SHOWN = {"", "text"}
"""Blocks that are no code: drawings, and what a command prints."""

TESTS_OF_A_PAGE = {
    "docs/start/django.md": "quickstarts/test_quick_starts.py",
    "docs/start/fastapi.md": "quickstarts/test_quick_starts.py",
    "docs/start/flask.md": "quickstarts/test_quick_starts.py",
    "docs/tutorial.md": "quickstarts/test_tutorial.py",
    "docs/how-to/change-a-task.md": "tests/test_change_a_task_page.py",
    "docs/how-to/dashboard.md": "tests/dashboard/test_dashboard_page_code.py",
    "docs/how-to/django.md": "tests/django/test_documented.py",
    "docs/how-to/metrics.md": "tests/metrics/test_metrics_pages.py",
    "docs/how-to/switch.md": "tests/broker/test_switch_page.py",
}
"""These tests read the page and run its Python. Those of the quick starts run all of it."""

PREPARED = {
    "docs/how-to/retries.md": """
        class BankIsClosed(Exception): ...
        class CardDeclined(Exception): ...
    """,
    "docs/how-to/schedules.md": """
        from datetime import datetime
        from celery.schedules import crontab
    """,
    "docs/how-to/transactions.md": """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

        class Base(DeclarativeBase): ...

        class Order(Base):
            __tablename__ = "orders"
            id: Mapped[int] = mapped_column(primary_key=True)

        @app.task
        def send_invoice(order_id): ...

        engine, order = create_engine(url), Order(id=7)
        Base.metadata.create_all(engine)
    """,
    "docs/how-to/unique.md": "revision = 3",
}
"""What the text of a page takes for granted."""

INSTALLS = "it installs packages"
SERVERS = "it needs servers of its own"
ELLIPSIS = "it leaves something out"
NOT_RUN = {
    ("README.md", "$ pip install '/path/to/mirepoix[postgres]'"): INSTALLS,
    ("README.md", "$ scripts/demo"): "tests/demo runs the demo",
    ("README.md", "$ scripts/test"): "it is these tests",
    ("README.md", "$ python3 -m venv .venv && . .venv/bin/activate"): "quickstarts/test_quick_starts.py runs it",
    ("docs/start/install.md", "$ pip install '/path/to/mirepoix[postgres]'"): INSTALLS,
    ("docs/how-to/airflow.md", "$ pip install 'mirepoix[airflow]'"): INSTALLS,
    ("docs/how-to/airflow.md", "from airflow.sdk import DAG"): f"{SERVERS}: scripts/airflow runs examples/airflow",
    ("docs/how-to/airflow.md", "$ airflow connections add mirepoix_default"): SERVERS,
    ("docs/how-to/airflow-executor.md", "$ export AIRFLOW__CORE__EXECUTOR=CeleryExecutor"): SERVERS,
    ("docs/how-to/async-tasks.md", "$ celery -A shop worker --loglevel=info"): "a worker runs until somebody ends it",
    ("docs/how-to/connections.md", "GRANT USAGE ON SCHEMA"): "tests/e2e/test_grants.py runs it",
    ("docs/how-to/connections.md", "GRANT SELECT, INSERT"): "tests/e2e/test_grants.py runs it",
    ("docs/how-to/django.md", 'DATABASES["default"]["OPTIONS"]'): "not every Django that is promised has the option",
    ("docs/how-to/deploy.md", "$ sudo cp deploy/systemd/*.service"): "tests/deploy checks the kits",
    ("docs/how-to/deploy.md", "$ docker build -f deploy/docker/Dockerfile"): "tests/deploy checks the kits",
    ("docs/how-to/deploy.md", "$ kubectl create secret generic shop"): "tests/deploy checks the kits",
    ("docs/how-to/deploy.md", "workers:"): "values of the chart, which scripts/release-check renders",
    ("docs/how-to/failures.md", "MIREPOIX_RELEASE=2026.11.3 celery -A shop worker"): "a worker runs until it is ended",
    ("docs/how-to/idempotent-sends.md", "handle = mirepoix.submit_once(charge"): "it lists what a handle has",
    ("docs/how-to/idempotent-sends.md", "# views.py"): "tests/django/test_idempotent_posts.py has the view",
    ("docs/how-to/metrics.md", "scrape_configs:"): "a file of Prometheus",
    ("docs/how-to/metrics.md", 'export MIREPOIX_METRICS_TOKEN="$(cat'): "it serves until somebody ends it",
    ("docs/how-to/prefect.md", "$ pip install 'mirepoix[prefect]'"): INSTALLS,
    ("docs/how-to/prefect.md", "from prefect import flow"): f"{SERVERS}: tests/prefect",
    ("docs/how-to/prefect.md", "@flow"): f"{SERVERS}: tests/prefect",
    ("docs/how-to/prefect.md", "@task(retries=3)"): f"{SERVERS}: tests/prefect",
    ("docs/how-to/probes.md", "containers:"): "a part of a manifest; tests/deploy checks the whole",
    (
        "docs/how-to/results.md",
        "result = send_receipt.delay(order_id)",
    ): "it waits for a worker: tests/e2e/test_results.py",
    ("docs/how-to/safe-to-retry.md", "# shop/tasks.py"): "tests/crashtest/test_verdicts.py has the task",
    ("docs/how-to/safe-to-retry.md", "# shop/tests.py"): "tests/crashtest/test_verdicts.py has the task",
    ("docs/how-to/safe-to-retry.md", "@shared_task(acks_late=True)"): "tests/crashtest/test_verdicts.py has the task",
    ("docs/how-to/safe-to-retry.md", "$ pytest --crashpoints"): "tests/crashtest/test_plugin.py runs the options",
    ("docs/how-to/steps.md", "for order in orders:"): "a part of a task",
    ("docs/how-to/steps.md", "prices = await asyncio.gather("): "a part of a task",
    ("docs/how-to/switch.md", "$ python manage.py migrate"): "tests/broker/test_switch_page.py walks the page",
    ("docs/how-to/temporal.md", "$ pip install 'mirepoix[temporal]'"): INSTALLS,
    ("docs/how-to/temporal.md", "# worker.py"): f"{SERVERS}: tests/temporal",
    ("docs/how-to/temporal.md", "# workflow.py"): f"{SERVERS}: tests/temporal",
    ("docs/how-to/temporal.md", 'await run_task("shop.charge"'): f"{SERVERS}: tests/temporal",
    ("docs/how-to/temporal.md", "# where the Celery app is made"): f"{SERVERS}: tests/temporal",
    ("docs/how-to/temporal.md", "from mirepoix.temporal import signal_workflow"): f"{SERVERS}: tests/temporal",
    ("docs/how-to/temporal.md", "async def connect() -> Client:"): f"{SERVERS}: tests/temporal",
    ("docs/how-to/traces.md", "pip install 'mirepoix[otel]'"): INSTALLS,
    ("docs/how-to/transactional-tasks.md", "# orders/tasks.py"): "tests/django/test_tasks_on_a_worker.py has one",
    ("docs/how-to/transactions.md", "with transaction.atomic():"): f"{ELLIPSIS}: tests/connect/test_django_source.py",
    ("docs/how-to/transactions.md", "with mirepoix.using(db.session):"): "quickstarts/test_quick_starts.py runs Flask",
    ("docs/how-to/transactions.md", "async with AsyncSession(engine)"): "tests/connect/test_using_async.py",
    ("docs/how-to/transactions.md", "async def transaction():"): "quickstarts/test_quick_starts.py runs FastAPI",
    ("docs/how-to/transactions.md", "with psycopg.connect(...)"): f"{ELLIPSIS}: tests/connect/test_using.py",
    (
        "docs/how-to/transactions.md",
        "async with connection.transaction()",
    ): f"{ELLIPSIS}: tests/connect/test_using_async.py",
    ("docs/how-to/transactions.md", "connection = pymysql.connect(...,"): f"{ELLIPSIS}: tests/connect/test_using.py",
    (
        "docs/how-to/transactions.md",
        'connection = sqlite3.connect("shop.db")',
    ): f"{ELLIPSIS}: tests/connect/test_using.py",
    ("docs/how-to/types.md", "$ pip install celery-types"): INSTALLS,
    ("docs/how-to/types.md", "# shop.py"): "it has errors on purpose; tests/user_types checks them",
    ("docs/how-to/upgrade.md", "$ pip install --upgrade celery kombu"): INSTALLS,
}
"""Page and beginning of each block that no test runs, with the reason or the test that has the same."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of a page."""

    page: str
    language: str
    text: str

    @property
    def reason(self) -> str | None:
        """Why it is not run."""
        found = [why for (page, begins), why in NOT_RUN.items() if page == self.page and self.text.startswith(begins)]
        return found[0] if found else None

    @property
    def is_run_here(self) -> bool:
        """Whether this file runs it."""
        return self.language in RUN_HERE and self.page not in TESTS_OF_A_PAGE and self.reason is None

    @property
    def is_accounted_for(self) -> bool:
        """Whether it is run, or checked as a command, or its reason is known."""
        if self.language in SHOWN or self.is_run_here or self.reason is not None:
            return True
        if self.language in SHELL and all(map(_is_command, self._lines)):
            return True  # tests/test_commands_of_pages.py checks its options
        return self.page in TESTS_OF_A_PAGE and (self.language not in SHELL or "quickstarts" in self._test)

    @property
    def _test(self) -> str:
        return TESTS_OF_A_PAGE[self.page]

    @property
    def _lines(self) -> list[str]:
        lines = self.text.splitlines()
        return [line for line in lines if line.startswith("$ ")] or lines


def _is_command(line: str) -> bool:
    return bool(TYPED.match(line)) or line.startswith("$ pip install 'mirepoix[")


def blocks() -> list[Block]:
    """All of them."""
    return [
        Block(str(page.relative_to(ROOT)), language, textwrap.dedent(text))
        for page in PAGES
        for language, text in re.findall(
            r"^ *```(\w*)\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
    ]


def paths_of_tests() -> list[str]:
    """The tests that run the other blocks, but for the quick starts: ``scripts/release-check --all`` runs both."""
    named = " ".join([*TESTS_OF_A_PAGE.values(), *NOT_RUN.values()])
    return sorted(set(re.findall(r"tests/[\w/.]*\w", named)))


@pytest.mark.parametrize("path", paths_of_tests())
def test_the_tests_that_reasons_name_exist(path: str):
    assert (ROOT / path).exists()


def test_each_block_is_run_or_has_a_reason():
    assert [f"{block.page}:\n{block.text}" for block in blocks() if not block.is_accounted_for] == []


def test_each_reason_is_that_of_a_block():
    found = blocks()
    assert [
        key for key in NOT_RUN if not any(block.page == key[0] and block.text.startswith(key[1]) for block in found)
    ] == []


@pytest.mark.parametrize("page", TESTS_OF_A_PAGE)
def test_the_test_of_a_page_reads_it(page: str):
    assert Path(page).name in (ROOT / TESTS_OF_A_PAGE[page]).read_text("utf-8")


@pytest.mark.parametrize("page", sorted({block.page for block in blocks() if block.is_run_here}))
def test_the_code_of_a_page_runs(page: str, sqlite_url: str, tmp_path: Path):
    here = [(block.language, block.text) for block in blocks() if block.page == page and block.is_run_here]
    file = tmp_path / "blocks.json"
    file.write_text(
        json.dumps({"url": sqlite_url, "prepared": textwrap.dedent(PREPARED.get(page, "")), "blocks": here}), "utf-8"
    )
    command = [sys.executable, str(ROOT / "tests" / "run_blocks.py"), str(file)]
    done = fork_server.run(command, tmp_path, dict(fork_server.ENVIRONMENT), timeout_s=DEADLINE_S)
    assert done.returncode == 0, done.stderr
