"""Which of the jobs that a process of the asyncio pool ran is blamed for its death."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from celery import Celery

from mirepoix.celery.async_def import adapt
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.loop_process import LoopProcess
from mirepoix.celery.pool.page import Page

SUSPECT = "suspect"
APP = Celery("loops", set_as_current=False)


async def waits() -> None: ...


def computes() -> None: ...


class Running:
    """A process that has begun these jobs; it was never forked."""

    def __init__(self, page: Page, *names: str) -> None:
        for task in (APP.task(waits), APP.task(computes)):
            adapt(task)
        tasks = {"coroutine": APP.task(waits), "plain": APP.task(computes), SUSPECT: APP.task(waits)}
        self.page = page
        self.process = LoopProcess(page, 0, 0, tasks, lambda job: job.name == SUSPECT)
        self.jobs = [Job(name=name) for name in names]
        for number, job in enumerate(self.jobs, page.places):
            job.given(self.process, number)
            self.process.jobs[number] = job
            assert page.begin(0, number)

    def blamed(self) -> Job | None:
        running = [job for job, _ in self.process.running()]
        assert running == self.jobs
        return self.process.culprit(running)


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page(1, 4)) as page:
        yield page


def test_the_job_whose_code_was_executed_is_blamed(page: Page) -> None:
    found = Running(page, "coroutine", "coroutine", SUSPECT)
    page.execute(0, found.jobs[1].number)
    assert found.blamed() is found.jobs[1]


def test_of_several_that_waited_none_is_blamed(page: Page) -> None:
    assert Running(page, "coroutine", "coroutine").blamed() is None


@pytest.mark.parametrize("names", [["coroutine"], ["coroutine", "plain"], ["coroutine", SUSPECT, "coroutine"]])
def test_the_only_one_is_blamed_that_runs_or_has_a_thread_or_is_a_suspect(page: Page, names: list[str]) -> None:
    found = Running(page, *names)
    expected = names.index(SUSPECT) if SUSPECT in names else len(names) - 1
    assert found.blamed() is found.jobs[expected]


def test_of_two_threads_or_two_suspects_none_is_blamed(page: Page) -> None:
    assert Running(page, "plain", "plain").blamed() is None
    page.clear(0)
    assert Running(page, SUSPECT, SUSPECT, "coroutine").blamed() is None


def test_a_process_that_its_parent_ended_blames_nobody_else(page: Page) -> None:
    found = Running(page, "coroutine", "coroutine")
    page.execute(0, found.jobs[0].number)
    found.process.ended_for = "another"
    assert found.blamed() is None


def test_a_place_is_used_again_and_knows_its_last_job(page: Page) -> None:
    assert page.begin(0, 4)
    assert page.begin(0, 5)
    page.end(0, 4)
    assert page.begin(0, 8)  # in the place of 4
    assert (page.begun_at(0, 4), page.last_begun(0)) == (None, 8)
    assert page.begun_at(0, 5) is not None
    assert page.recall(0, 11) == 8
    assert not page.begin(0, 9)
