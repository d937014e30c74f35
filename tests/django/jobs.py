"""Tasks of ``django.tasks`` for the tests of the backend. Each test imports this anew."""

from __future__ import annotations

import os
import signal
from typing import Any

from mirepoix.django import backend

if backend.BaseTaskBackend.__module__.startswith("django_tasks"):
    from django_tasks import task
else:
    from django.tasks import task

ran: list[Any] = []


@task
def add(a: int, b: int = 0) -> int:
    ran.append((a, b))
    return a + b


@task(queue_name="mail", priority=5)
def send_mail(to: str) -> None:
    ran.append(to)


@task
def fail(message: str) -> None:
    raise LookupError(message)


@task
def odd() -> object:
    return object()


@task(takes_context=True)
def tell(context: Any, n: int) -> list[Any]:
    return [context.attempt, context.task_result.status, context.task_result.args, n]


@task
async def later(n: int) -> int:
    ran.append(n)
    return n + 1


@task
async def look() -> int:
    from mirepoix.django.models import Task

    return await Task.objects.acount()


@task(backend="exact")
def transfer(is_failing: bool) -> None:
    add.enqueue(1)
    if is_failing:
        raise ValueError("it went wrong")


@task(takes_context=True)
def die(context: Any, times: int) -> str:
    if context.attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"
