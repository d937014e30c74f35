"""Files that boto3 moves to and within S3 in threads (``upload_file``, ``upload_fileobj``, ``copy``). Each is a point.

The point ends when the file is there, so a crash after it is tried too.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from inspect import signature
from typing import Any

from s3transfer.manager import TransferManager
from s3transfer.tasks import Task

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import current, within


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""
    for name in ("upload", "copy"):
        replace(stack, TransferManager, name, partial(_moving, name))
    replace(stack, Task, "__call__", _part)


def _moving(name: str, original: Any) -> Any:
    asked = signature(original)

    def move(*args: Any, **options: Any) -> Any:
        delivery = current()
        if delivery is None:
            return original(*args, **options)
        given = asked.bind(*args, **options).arguments
        label = f"s3 {name} {given['bucket']} {given['key']}"
        with delivery.point("aws", label, is_durable=True) as note:
            future = original(*args, **options)
            try:
                future.result()
            except Exception:  # noqa: BLE001 (the same is raised where the task asks for the result)
                return future
            note({"kind": "aws", "subject": label, "payload": "", "is_repeatable": True})
            return future

    return move


def _part(original: Any) -> Any:
    """Make the threads' calls part of the point that waits for them."""

    def call(self: Any, *args: Any, **options: Any) -> Any:
        with within():
            return original(self, *args, **options)

    return call
