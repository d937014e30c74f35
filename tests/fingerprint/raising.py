"""Real failures: each is raised by really going wrong in a library, under a function that stands for somebody's task.

*number* is what differs from one failure of a cause to the next.
"""

from __future__ import annotations

import ast
import asyncio
import concurrent.futures
import configparser
import csv
import datetime as dt
import decimal
import importlib
import ipaddress
import json
import multiprocessing
import os
import pickle
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
import uuid
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CAUSES: dict[str, Callable[[int], Any]] = {}


def cause(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """Make it one of the causes."""
    CAUSES[function.__name__] = function
    return function


@cause
def own_error_with_an_id(number: int) -> None:
    raise ValueError(f"order {uuid.UUID(int=number << 64, version=4)} of 'customer {number}' has no price")


@cause
def a_key_is_missing(number: int) -> Any:
    return {}[f"customer-{number}"]


@cause
def nothing_has_no_attribute(number: int) -> Any:
    return [None][0].price  # type: ignore[attr-defined]


@cause
def an_index_is_out_of_range(number: int) -> Any:
    return [number][number + 1]


@cause
def a_division_by_zero(number: int) -> Any:
    return number / 0


@cause
def json_that_ends(number: int) -> Any:
    return json.loads('{"a": ' + "1" * (number + 1))


@cause
def a_server_that_is_not_there(number: int) -> Any:
    return urllib.request.urlopen(f"http://127.0.0.1:{_closed_port()}/orders/{number}", timeout=5)


@cause
def a_file_that_is_not_there(number: int) -> Any:
    return Path(f"/nowhere/uploads/{number}/invoice.pdf").read_bytes()


@cause
def a_constraint_in_sqlite(number: int) -> Any:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE)")
    for _ in range(2):
        connection.execute("INSERT INTO users (email) VALUES (?)", (f"u{number}@example.org",))


@cause
def a_constraint_through_sqlalchemy(number: int) -> Any:
    import sqlalchemy

    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE users (email text UNIQUE)"))
        for _ in range(2):
            connection.execute(
                sqlalchemy.text("INSERT INTO users VALUES (:email)"), {"email": f"u{number}@example.org"}
            )


@cause
def a_postgresql_that_is_not_there(number: int) -> Any:
    import psycopg

    return psycopg.connect(f"postgresql://user{number}@127.0.0.1:{_closed_port()}/shop", connect_timeout=5)


@cause
def a_mysql_that_is_not_there(number: int) -> Any:
    import pymysql

    return pymysql.connect(host="127.0.0.1", port=_closed_port(), user=f"user{number}", connect_timeout=5)


@cause
def a_redis_that_is_not_there(number: int) -> Any:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(host="127.0.0.1", port=_closed_port(), retry=Retry(NoBackoff(), 0)).get(f"cart:{number}")


@cause
def a_broker_that_is_not_there(number: int) -> Any:
    from kombu import Connection

    with Connection(f"amqp://guest@127.0.0.1:{_closed_port()}//", connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)


@cause
def a_field_that_a_django_form_lacks(number: int) -> Any:
    from django.utils.datastructures import MultiValueDict

    return MultiValueDict({})[f"field {number}"]


@cause
def a_django_url_that_cannot_be_read(number: int) -> Any:
    from django.utils.dateparse import parse_datetime

    return parse_datetime(f"2026-13-{10 + number % 10}T00:00:00")


@cause
def arguments_that_pydantic_refuses(number: int) -> Any:
    import pydantic

    return pydantic.TypeAdapter(dict[str, int]).validate_python({f"order{number}": f"x{number}"})


@cause
def a_recursion_without_end(number: int) -> Any:
    return _down(number)


@cause
def a_recursion_of_two(number: int) -> Any:
    return _there({"n": number}, number % 2)


@cause
def a_task_group(number: int) -> Any:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for each in range(1 + number % 3):
                group.create_task(_fails_later(each))

    asyncio.run(main())


@cause
def a_nested_group(number: int) -> Any:
    inner = ExceptionGroup(f"batch {number}", [_raised(TypeError(f"row {number}")), _raised(ValueError("b"))])
    raise ExceptionGroup("import", [inner, _raised(OSError("full"))])


@cause
def an_asyncio_timeout(number: int) -> Any:
    async def main() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)

    asyncio.run(main())


@cause
def an_error_in_a_pool_of_threads(number: int) -> Any:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(_fails, number).result()


@cause
def code_that_is_none(number: int) -> Any:
    return ast.parse(f"order{number} = = 1")


@cause
def a_module_that_is_not_there(number: int) -> Any:
    return importlib.import_module("shop_plugins_that_nobody_wrote")


@cause
def a_command_that_fails(number: int) -> Any:
    return subprocess.run([sys.executable, "-c", f"raise SystemExit({1 + number % 100})"], check=True)


@cause
def a_pickle_that_is_none(number: int) -> Any:
    return pickle.loads(b"\x80\x04\x95" + bytes([number % 200]))


@cause
def xml_that_ends(number: int) -> Any:
    return ET.fromstring("<order>" + "<item/>" * number)


@cause
def an_archive_that_is_none(number: int) -> Any:
    with tempfile.NamedTemporaryFile(suffix=f"-{number}.zip") as file:
        return zipfile.ZipFile(file.name)


@cause
def an_address_that_is_none(number: int) -> Any:
    return ipaddress.ip_address(f"300.1.1.{number}")


@cause
def a_number_that_is_none(number: int) -> Any:
    return decimal.Decimal(f"{number},50")


@cause
def bytes_that_are_no_text(number: int) -> Any:
    return (b"x" * number + b"\xff").decode()


@cause
def a_structure_that_is_too_short(number: int) -> Any:
    return struct.unpack(">Q", b"1234")


@cause
def a_time_that_is_none(number: int) -> Any:
    return dt.datetime.strptime(f"{number} o'clock", "%Y-%m-%d").replace(tzinfo=dt.UTC)


@cause
def a_configuration_without_a_section(number: int) -> Any:
    parser = configparser.ConfigParser()
    parser.read_string(f"key{number} = 1")


@cause
def an_error_in_another_process(number: int) -> Any:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(_fails, number).result()


@cause
def a_line_of_csv_that_is_too_long(number: int) -> Any:
    return list(csv.reader(["x" * (csv.field_size_limit() + number + 1)]))


@cause
def a_pattern_that_is_none(number: int) -> Any:
    return re.compile("(" * (1 + number % 5))


@cause
def a_wrapped_error(number: int) -> Any:
    try:
        _fails(number)
    except ValueError as error:
        raise RuntimeError(f"order {number} failed") from error


@cause
def an_error_while_handling_another(number: int) -> Any:
    try:
        _fails(number)
    except ValueError:
        return {}[number]


@cause
def an_error_with_notes_and_lines(number: int) -> Any:
    error = ValueError(f'batch {number} failed\n  File "/x/y.py", line 3, in z\nrow {number}')
    error.add_note(f"while importing {number}")
    raise error


@cause
def a_lock_that_is_not_held(number: int) -> Any:
    threading.Lock().release()


@cause
def an_environment_that_lacks_something(number: int) -> Any:
    return os.environ["SHOP_API_KEY_THAT_NOBODY_SET"]


class Fails:
    """A class of somebody's."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<Fails {self.number} at {id(self):#x}>"


@cause
def an_object_in_the_message(number: int) -> Any:
    raise TypeError(f"cannot price {Fails(number)!r}")


def _fails(number: int) -> None:
    raise ValueError(f"no stock for {number}")


async def _fails_later(number: int) -> None:
    raise ValueError(f"no stock for {number}")


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return caught


def _down(number: int) -> int:
    return _down(number + 1) + 1


def _there(state: dict[str, int], number: int) -> int:
    return _and_back(state, number) + 1


def _and_back(state: dict[str, int], number: int) -> int:
    return _there(dict(sorted(state.items())), number) + 1


def _closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
        return port
