"""Tasks that are coroutines, in one process: how they are adopted, called, and run eagerly."""

# No postponed annotations: Celery 5.5 looks for models in them, and would find texts.
import asyncio
import gc
import inspect
import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import soft_timeout_sighandler
from celery import Celery, Task, _state, current_task, shared_task
from celery.app.trace import build_tracer
from pydantic import BaseModel

import mirepoix
from mirepoix.errors import ConfigurationError, CoroutineCancelled


@pytest.fixture(autouse=True)
def _own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery gives the tasks of one app to all others in the process: not to those of other tests."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture(params=["before", "after"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Celery]]:
    """Makes an app whose tasks are defined before the installation, or after it."""
    apps = []

    def make(define: Callable[[Celery], None]) -> Celery:
        app = Celery("coroutines", set_as_current=False, broker="memory://")
        apps.append(app)
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        if request.param == "before":
            define(app)
            app.finalize()
            mirepoix.install(app, url)
        else:
            mirepoix.install(app, url)
            define(app)
        return app

    yield make
    for app in apps:
        if hasattr(app, "mirepoix"):
            app.mirepoix.source.close()
        app.close()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An installed app without tasks."""
    app = Celery("coroutines", set_as_current=False, broker="memory://")
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}")
    yield app
    app.mirepoix.source.close()
    app.close()


def traced(app: Celery, name: str, *args: Any, **kwargs: Any) -> Any:
    """What a worker's tracer makes of a call: the value, or the exception raised."""
    task = app.tasks[name]
    tracer = build_tracer(name, task, app=app, eager=True, propagate=True)
    return tracer("an-id", args, kwargs, {"id": "an-id", "task": name}).retval


class Number(BaseModel):
    """A model."""

    value: int


def test_a_tracer_runs_every_kind_of_async_task_whenever_it_was_defined(make: Callable[..., Celery]) -> None:
    def define(app: Celery) -> None:
        @app.task(name="plain")
        async def plain(x: int) -> int:
            await asyncio.sleep(0)
            return x + 1

        @app.task(name="bound", bind=True)
        async def bound(self: Task, x: int) -> tuple[int, str]:
            await asyncio.sleep(0)
            return x + 1, self.request.id

        @app.task(name="validated", pydantic=True)
        async def validated(x: Number) -> Number:
            await asyncio.sleep(0)
            return Number(value=x.value + 1)

        @app.task(name="bound-validated", bind=True, pydantic=True)
        async def bound_validated(self: Task, x: Number) -> Number:
            await asyncio.sleep(0)
            assert self.request.id == "an-id"
            return Number(value=x.value + 1)

        @shared_task(name=f"shared-{id(app)}")  # Celery gives it to every app there is
        async def shared(x: int) -> int:
            await asyncio.sleep(0)
            return x + 1

        class Counting(Task):
            name = "class"
            autoretry_for = (KeyError,)

            async def run(self, x: int) -> int:
                await asyncio.sleep(0)
                return x + 1

        app.register_task(Counting())

    app = make(define)
    app.finalize()
    assert traced(app, "plain", 1) == 2
    assert traced(app, "bound", 1) == (2, "an-id")
    assert traced(app, "validated", {"value": 1}) == {"value": 2}
    assert traced(app, "bound-validated", {"value": 1}) == {"value": 2}
    assert traced(app, f"shared-{id(app)}", 1) == 2
    assert traced(app, "class", 1) == 2


def test_the_signature_of_an_async_task_is_checked_as_ever(make: Callable[..., Celery]) -> None:
    def define(app: Celery) -> None:
        @app.task(name="two", autoretry_for=(KeyError,))
        async def two(a: int, *, b: int) -> None:
            await asyncio.sleep(0)

    task = make(define).tasks["two"]
    task.__header__(1, b=2)
    with pytest.raises(TypeError):
        task.__header__(1, 2)
    with pytest.raises(TypeError):
        task.delay(1)
    assert list(inspect.signature(task.run).parameters) == ["a", "b"]


def test_autoretry_wraps_the_run_of_the_coroutine(make: Callable[..., Celery]) -> None:
    ran = []

    def define(app: Celery) -> None:
        @app.task(name="again", bind=True, autoretry_for=(KeyError,), default_retry_delay=0, max_retries=2)
        async def again(self: Task) -> int:
            await asyncio.sleep(0)
            ran.append(self.request.retries)
            if self.request.retries < 2:
                raise KeyError
            return 7

    assert make(define).tasks["again"].apply().get() == 7
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("options", [{}, {"pydantic": True}, {"autoretry_for": (KeyError,)}, {"bind": True}])
def test_an_asynchronous_generator_is_refused_by_name(make: Callable[..., Celery], options: dict[str, Any]) -> None:
    def define(app: Celery) -> None:
        @app.task(name="numbers", **options)
        async def numbers(*args: Any) -> Any:
            yield 1

        app.finalize()

    with pytest.raises(ConfigurationError, match="numbers is an asynchronous generator"):
        make(define)


def test_a_task_that_runs_its_coroutine_itself_is_left_alone(app: Celery) -> None:
    def in_its_own_loop(function: Any) -> Any:
        import functools

        @functools.wraps(function)
        def run(*args: Any) -> Any:
            return asyncio.run(function(*args))

        return run

    @app.task(name="own")
    @in_its_own_loop
    async def own(x: int) -> int:
        await asyncio.sleep(0)
        return x

    assert traced(app, "own", 3) == 3
    assert own(4) == 4


def test_whoever_calls_the_task_gets_the_coroutine(app: Celery) -> None:
    @app.task(name="double")
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    @app.task(name="quadruple")
    async def quadruple(x: int) -> int:
        return await double(await double(x))

    @app.task(name="factorial")
    async def factorial(x: int) -> int:
        return x * await factorial(x - 1) if x else 1

    async def caller() -> int:
        return await double(3)

    assert asyncio.run(double(2)) == 4
    assert asyncio.run(caller()) == 6
    assert traced(app, "quadruple", 2) == 8
    assert traced(app, "factorial", 4) == 24


def test_an_eager_async_task_runs_at_once(app: Celery) -> None:
    app.conf.task_always_eager = True

    @app.task(name="whoami", bind=True)
    async def whoami(self: Task) -> tuple[str, str]:
        await asyncio.sleep(0)
        return self.request.id, current_task.name

    result = whoami.delay()
    assert result.get() == (result.id, "whoami")


def test_an_eager_async_task_runs_under_a_running_loop_too(app: Celery) -> None:
    app.conf.task_always_eager = True

    @app.task(name="whoami", bind=True)
    async def whoami(self: Task) -> tuple[str, str, str]:
        await asyncio.sleep(0)
        return self.request.id, current_task.name, threading.current_thread().name

    async def view() -> tuple[Any, Any]:
        return whoami.delay(), whoami.apply(task_id="given")

    first, second = asyncio.run(view())
    id, name, thread = first.get()
    assert (id, name) == (first.id, "whoami")
    assert thread != threading.current_thread().name
    assert second.get()[0] == "given"


def test_an_eager_failure_is_raised_where_it_is_wanted(app: Celery) -> None:
    @app.task(name="fail")
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no stock")

    async def view() -> None:
        fail.apply(throw=True)

    with pytest.raises(ValueError, match="no stock"):
        fail.apply(throw=True)
    with pytest.raises(ValueError, match="no stock"):
        asyncio.run(view())
    assert fail.apply().state == "FAILURE"


def test_a_coroutine_that_ends_as_cancelled_fails_as_an_exception(app: Celery) -> None:
    @app.task(name="cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CoroutineCancelled, match="cancelled was cancelled by its own code"):
        traced(app, "cancelled")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_process_leaves_the_loop_usable(app: Celery, error: type[BaseException]) -> None:
    @app.task(name="leave")
    async def leave() -> None:
        await asyncio.sleep(0)
        raise error

    @app.task(name="stay")
    async def stay() -> int:
        await asyncio.sleep(0)
        return 1

    with pytest.raises(error):
        traced(app, "leave")
    assert traced(app, "stay") == 1


def test_tasks_of_one_thread_share_a_loop_and_other_threads_have_their_own(app: Celery) -> None:
    @app.task(name="where")
    async def where() -> int:
        return id(asyncio.get_running_loop())

    loops: list[int] = []
    thread = threading.Thread(target=lambda: loops.extend(traced(app, "where") for _ in range(2)))
    here = [traced(app, "where") for _ in range(2)]
    thread.start()
    thread.join()
    assert here[0] == here[1]
    assert loops[0] == loops[1]


def test_a_forked_process_makes_a_loop_of_its_own_and_harms_nobody_elses(app: Celery) -> None:
    @app.task(name="where")
    async def where() -> asyncio.AbstractEventLoop:
        await asyncio.to_thread(os.getpid)  # goes through the pipe that wakes the loop
        return asyncio.get_running_loop()

    before = traced(app, "where")
    pid = os.fork()
    if pid == 0:
        try:
            mine = traced(app, "where")
            os._exit(0 if mine is not before and traced(app, "where") is mine else 1)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert traced(app, "where") is before


def test_what_is_left_behind_is_told_once(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    left: list[asyncio.Task[None]] = []
    gate: list[asyncio.Event] = []

    @app.task(name="start")
    async def start() -> None:
        gate.append(asyncio.Event())
        left.extend(asyncio.create_task(gate[0].wait()) for _ in range(3))

    @app.task(name="open")
    async def open_gate() -> None:
        if gate:
            gate[0].set()

    @app.task(name="tidy")
    async def tidy() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    with caplog.at_level(logging.WARNING, "mirepoix.coroutine"):
        traced(app, "tidy")
        assert caplog.messages == []
        traced(app, "start")
        traced(app, "tidy")
        traced(app, "open")
        traced(app, "tidy")
    (message,) = caplog.messages
    assert message.startswith("task start[an-id] ended and left 3 asyncio task(s) pending")
    assert all(task.done() for task in left)


def test_an_async_for_that_was_left_early_is_closed_and_not_told(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    @app.task(name="first")
    async def first() -> int:
        async for number in numbers():
            return number
        return 0

    with caplog.at_level(logging.WARNING, "mirepoix.coroutine"):
        assert traced(app, "first") == 1
    assert closed == [True]
    assert caplog.messages == []


def test_a_thread_that_ends_closes_its_loop(app: Celery) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @app.task(name="where")
    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    thread = threading.Thread(target=lambda: traced(app, "where"))
    thread.start()
    thread.join()
    gc.collect()
    assert loops[0].is_closed()


def test_retry_in_a_task_group_is_a_retry(app: Celery) -> None:
    @app.task(name="again", bind=True, max_retries=5)
    async def again(self: Task) -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            if self.request.retries < 2:
                raise self.retry(countdown=0)
        return self.request.retries

    assert again.apply().get() == 2


@pytest.fixture
def limited() -> Iterator[Callable[[], None]]:
    """As in a pool process: what it gives sends the signal of the soft time limit."""
    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is soft_timeout_sighandler
    signal.signal(signal.SIGUSR1, before)


async def own_code(send: Callable[[], None], seen: list[str]) -> None:
    try:
        send()
    except SoftTimeLimitExceeded:
        seen.append("raised")
        raise


async def body_of_a_task_group(send: Callable[[], None], seen: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        await own_code(send, seen)


async def callback(send: Callable[[], None], seen: list[str]) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(send)
    try:
        await loop.create_future()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        seen.append("cancelled")
        raise


async def other_asyncio_task(send: Callable[[], None], seen: list[str]) -> None:
    async def child() -> None:
        send()
        await asyncio.sleep(60)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (own_code, "raised"),
        (body_of_a_task_group, "raised"),
        (callback, "cancelled"),
        (other_asyncio_task, "cancelled"),
    ],
)
def test_wherever_the_soft_time_limit_strikes_the_task_fails_with_it(
    app: Celery, limited: Callable[[], None], caplog: pytest.LogCaptureFixture, code: Any, how: str
) -> None:
    seen: list[str] = []

    @app.task(name="slow")
    async def slow() -> None:
        await code(limited, seen)

    with pytest.raises(SoftTimeLimitExceeded):
        traced(app, "slow")
    assert seen == [how]
    assert [message for message in caplog.messages if "left" in message] == []


def test_a_coroutine_may_make_something_of_the_soft_time_limit(app: Celery, limited: Callable[[], None]) -> None:
    @app.task(name="partial")
    async def partial() -> str:
        asyncio.get_running_loop().call_soon(limited)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "half of it"
        return "all"

    assert traced(app, "partial") == "half of it"
