"""Policies: which errors pass, how long a retry waits, and what is refused when the policy is made."""

from __future__ import annotations

import errno
import sqlite3
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from mirepoix import RetryPolicy
from mirepoix.errors import ConfigurationError
from mirepoix.retries.after import LONGEST_S, seconds_after
from mirepoix.retries.policy import policy_of, rate

SECONDS = st.floats(0.001, 10_000)


@given(base=SECONDS, more=SECONDS, retries=st.integers(0, 10_000), drawn=st.floats(0, 1))
def test_a_wait_with_full_jitter_is_between_nothing_and_its_bound(base, more, retries, drawn):
    policy = RetryPolicy(base_s=base, max_delay_s=base + more)
    delay = policy.delay_s(retries, ValueError(), lambda: drawn)
    assert 0 <= delay <= policy.bound_s(retries) <= base + more
    assert delay == pytest.approx(drawn * policy.bound_s(retries))


@given(base=SECONDS, more=SECONDS, retries=st.integers(0, 10_000))
def test_bounds_double_until_the_longest(base, more, retries):
    policy = RetryPolicy(base_s=base, max_delay_s=base + more, jitter=False)
    assert policy.bound_s(0) == base
    assert policy.bound_s(retries + 1) == pytest.approx(min(2 * policy.bound_s(retries), base + more))
    assert policy.delay_s(retries, ValueError()) == policy.bound_s(retries)


@given(asked=st.floats(0, LONGEST_S), retries=st.integers(0, 100), drawn=st.floats(0, 1), jitter=st.booleans())
def test_no_retry_comes_before_the_other_side_asked_for_it(asked, retries, drawn, jitter):
    error = ValueError()
    error.retry_after = asked  # type: ignore[attr-defined]
    assert RetryPolicy(jitter=jitter).delay_s(retries, error, lambda: drawn) >= asked


@given(attempts=st.integers(1, 1000), done=st.integers(0, 2000))
def test_a_task_has_as_many_attempts_as_its_policy_says(attempts, done):
    assert RetryPolicy(max_attempts=attempts).is_spent(done) == (done + 1 >= attempts)


def answered(status: int, **headers: str) -> Exception:
    """As requests and httpx raise it."""
    error = Exception(f"{status}")
    error.response = SimpleNamespace(status_code=status, headers=headers)  # type: ignore[attr-defined]
    return error


def of_sqlite(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("of SQLite")
    error.sqlite_errorcode = code
    return error


PASSING = [
    ConnectionRefusedError(),
    TimeoutError(),
    OSError(errno.ENETUNREACH, "unreachable"),
    urllib.error.URLError(ConnectionRefusedError()),
    urllib.error.HTTPError("http://x", 503, "away", Message(), None),
    answered(429),
    answered(500),
    psycopg.OperationalError("server closed the connection"),
    pymysql.err.OperationalError(2013, "lost connection"),
    of_sqlite(sqlite3.SQLITE_BUSY),
    sa.exc.OperationalError("SELECT 1", {}, of_sqlite(sqlite3.SQLITE_BUSY)),
    psycopg.errors.ReadOnlySqlTransaction("in recovery"),
    sa.exc.InternalError("SELECT 1", {}, psycopg.errors.ReadOnlySqlTransaction("in recovery")),
    pymysql.err.OperationalError(1290, "--read-only"),
]
LASTING = [
    ValueError(),
    KeyError(),
    AttributeError(),
    FileNotFoundError(),
    PermissionError(errno.EACCES, "no"),
    urllib.error.URLError("unknown url type"),
    urllib.error.HTTPError("http://x", 404, "gone", Message(), None),
    answered(401),
    answered(501),
    psycopg.ProgrammingError("no such column"),
    pymysql.err.OperationalError(1054, "unknown column"),
    of_sqlite(sqlite3.SQLITE_ERROR),
    sa.exc.OperationalError("SELECT x", {}, of_sqlite(sqlite3.SQLITE_ERROR)),
    sa.exc.InternalError("SELECT 1", {}, psycopg.errors.InFailedSqlTransaction("aborted")),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_says_by_itself_that_it_passes_is_tried_again(error: Exception):
    assert RetryPolicy().takes(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_a_mistake_is_not_tried_again(error: Exception):
    assert not RetryPolicy().takes(error)


class Declined(ConnectionError):
    """Of a bank, say."""


class DeclinedForNow(Declined):
    """The same, but it passes."""


@pytest.mark.parametrize(
    ("policy", "error", "is_taken"),
    [
        (RetryPolicy(transient=(KeyError,)), KeyError(), True),
        (RetryPolicy(transient=(KeyError,)), ConnectionError(), False),
        (RetryPolicy(transient=(LookupError,)), KeyError(), True),
        (RetryPolicy(permanent=(Declined,)), Declined(), False),
        (RetryPolicy(permanent=(Declined,)), ConnectionError(), True),
        (RetryPolicy(transient=(DeclinedForNow,), permanent=(Declined,)), DeclinedForNow(), True),
        (RetryPolicy(transient=(OSError,), permanent=(Declined,)), DeclinedForNow(), False),
        (RetryPolicy(transient=(KeyError,), permanent=(KeyError,)), KeyError(), False),
        (RetryPolicy(transient=(f"{__name__}.Declined",)), DeclinedForNow(), True),
        (RetryPolicy(transient=("ConnectionError",)), Declined(), True),
    ],
)
def test_the_nearest_class_decides_and_of_two_the_permanent(policy: RetryPolicy, error: Exception, is_taken: bool):
    assert policy.takes(error) == is_taken


def test_retry_after_is_read_from_the_exception_and_from_headers():
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    assert seconds_after(answered(503, **{"Retry-After": "7"})) == 7
    assert seconds_after(answered(503, **{"retry-after": "7.5"})) == 7.5
    assert 55 < seconds_after(answered(503, **{"Retry-After": format_datetime(in_a_minute, usegmt=True)})) <= 60
    for value, expected in (
        (3, 3),
        (timedelta(minutes=1), 60),
        (10**9, LONGEST_S),
        (-5, 0),
        ("soon", None),
        (None, None),
    ):
        error = ValueError()
        error.retry_after = value  # type: ignore[attr-defined]
        assert seconds_after(error) == expected
    assert seconds_after(ValueError()) is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"base_s": 0}, "base_s"),
        ({"base_s": "1"}, "base_s"),
        ({"max_delay_s": 0.5}, "shorter"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_age_s": -1}, "max_age_s"),
        ({"max_attempts": None, "max_age_s": None}, "for ever"),
        ({"transient": ConnectionError}, "tuple"),
        ({"transient": (3,)}, "neither an exception class"),
        ({"permanent": None}, "permanent"),
        ({"jitter": 1}, "jitter"),
        ({"retry_after": 3}, "function"),
        ({"budget": "fast"}, "'50/s'"),
        ({"budget": "0/s"}, "'50/s'"),
        ({"budget": 50}, "'50/s'"),
        ({"destination": "bank"}, "budget"),
        ({"destination": "", "budget": "1/s"}, "destination"),
    ],
)
def test_what_cannot_work_is_refused_when_the_policy_is_made(wrong: dict[str, Any], told: str):
    with pytest.raises(ConfigurationError, match=told):
        RetryPolicy(**wrong)


def test_a_policy_may_be_a_mapping_and_anything_else_is_named():
    assert policy_of({"base_s": 2.0, "max_attempts": 3}, "x") == RetryPolicy(base_s=2.0, max_attempts=3)
    with pytest.raises(ConfigurationError, match=r"mirepoix_retries.*atempts"):
        policy_of({"max_atempts": 3}, "mirepoix_retries")
    with pytest.raises(ConfigurationError, match=r"mirepoix_retries.*not 3"):
        policy_of(3, "mirepoix_retries")


def test_rates_have_units():
    assert [rate(text) for text in ("50/s", "600/m", " 3600 / h ", "0.5/s")] == [50, 10, 1, 0.5]
