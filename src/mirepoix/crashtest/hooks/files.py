"""Files in the watched folders: opened for writing, closed, renamed and removed.

A dead process loses unflushed data, so its file is redirected to the null device before it is closed. Data that is
written to a descriptor of ``os.open()``, as by Django's storages, is durable when the next action begins.
"""

from __future__ import annotations

import builtins
import io
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import Delivery, Died, current


def install(stack: ExitStack, folders: list[str]) -> None:  # noqa: C901 (five wrappers beside each other)
    """Install the fault points until *stack* is closed. Without folders nothing is watched."""
    if not folders:
        return
    roots = tuple(str(Path(folder).resolve()) + os.sep for folder in folders)

    def named(path: Any) -> str | None:
        if not isinstance(path, (str, os.PathLike)):
            return None
        full = str(Path(path).absolute())
        return next((os.path.relpath(full, root) for root in roots if full.startswith(root)), None)

    def make_open(original: Any) -> Any:
        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            delivery = current()
            name = named(file) if delivery is not None and set(mode) & set("wax+") else None
            if delivery is None or name is None:
                return original(file, mode, *args, **options)
            handle = None
            try:
                with delivery.point("file", f"open {name}", is_durable=True):
                    handle = original(file, mode, *args, **options)
            except Died:
                if handle is not None:
                    handle.close()
                raise
            _watch_close(handle, delivery, name)
            return handle

        return opened

    def make(verb: str) -> Any:
        def wrapping(original: Any) -> Any:
            def wrapped(path: Any, *args: Any, **options: Any) -> Any:
                delivery = current()
                name = named(path) if delivery is not None else None
                if delivery is None or name is None:
                    return original(path, *args, **options)
                with delivery.point("file", f"{verb} {name}", is_durable=True):
                    return original(path, *args, **options)

            return wrapped

        return wrapping

    def make_os_open(original: Any) -> Any:
        def opened(path: Any, flags: int, *args: Any, **options: Any) -> Any:
            delivery = current()
            name = named(path) if delivery is not None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else None
            if delivery is None or name is None:
                return original(path, flags, *args, **options)
            handle = None
            try:
                with delivery.point("file", f"open {name}", is_durable=True):
                    handle = original(path, flags, *args, **options)
            except Died:
                if handle is not None:
                    os.close(handle)
                raise
            return handle

        return opened

    opened = make_open(builtins.open)
    replace(stack, os, "open", make_os_open)
    replace(stack, builtins, "open", lambda _: opened)
    replace(stack, io, "open", lambda _: opened)
    for name, verb in {"rename": "rename", "replace": "rename", "remove": "remove", "unlink": "remove"}.items():
        replace(stack, os, name, make(verb))


def _watch_close(handle: Any, delivery: Delivery, name: str) -> None:
    close = handle.close

    def closed() -> None:
        if handle.closed:
            return
        if not delivery.is_dead:
            try:
                with delivery.point("file", f"close {name}", is_durable=True):
                    close()
            finally:
                if delivery.is_dead and not handle.closed:
                    _lose(handle, close)
            return
        _lose(handle, close)

    handle.close = closed


def _lose(handle: Any, close: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, handle.fileno())
    os.close(null)
    close()
