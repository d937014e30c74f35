"""What may change without another fingerprint, and what may not: on any failures that can be thought of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirepoix.fingerprint.fingerprint import Fingerprint, of
from mirepoix.fingerprint.frames import module
from mirepoix.fingerprint.template import template

NAMES = st.from_regex(r"[a-z][a-z_]{2,10}", fullmatch=True)
PLACES = st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=6, unique=True)
"""Functions with their modules, outermost first."""

KINDS = st.sampled_from(["ValueError", "KeyError", "shop.errors.Refused", "psycopg.errors.UniqueViolation"])
LIBRARY = (
    "/venv/lib/python3.12/site-packages/celery/app/trace.py",
    "/venv/lib/python3.12/site-packages/sqlalchemy/engine/base.py",
    "/usr/lib/python3.12/json/decoder.py",
    "/srv/checkouts/mirepoix/src/mirepoix/celery/task.py",
)
VALUES = (
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.uuids(version=4),
    st.integers(0, 2**64).map(hex),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.(com|org)", fullmatch=True),
    st.from_regex(r"https?://[a-z]{1,9}\.com/[a-z/]{0,9}(\?q=[a-z]{1,3})?", fullmatch=True),
    st.from_regex(r"/[a-z]{1,9}/[a-z]{1,9}(\.txt)?", fullmatch=True),
    st.from_regex(r"[a-z]{2,5}_[0-9][0-9a-zA-Z]{1,20}", fullmatch=True),
    st.from_regex(r"10\.[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}:[0-9]{2,5}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12).map(repr),
)
"""What differs from one failure to the next, by sorts."""


def told(kind: str, places: list[tuple[str, str]], message: str, *, lines: int = 0, between: bool = False) -> str:
    """A traceback as Python writes it, with frames of libraries *between* one's own."""
    text = ["Traceback (most recent call last):"]
    for number, (file, function) in enumerate(places):
        if between:
            text += [f'  File "{LIBRARY[number % len(LIBRARY)]}", line {lines + 3}, in call', "    return call()"]
        text += [f'  File "/srv/shop/{file}.py", line {lines + number + 1}, in {function}', "    work()"]
    return "\n".join([*text, f"{kind}: {message}", ""])


def fingerprint(kind: str, text: str, message: str = "", task: str = "shop.run") -> Fingerprint:
    """As the ledger takes it."""
    found = of(task=task, reason=f"{kind.rpartition('.')[2]}: {message}", error_type=kind, traceback=text)
    assert found is not None
    return found


@given(KINDS, PLACES, st.integers(0, 5_000), st.booleans(), st.booleans())
def test_lines_libraries_and_task_names_change_nothing(kind, places, lines, before, after):
    old = fingerprint(kind, told(kind, places, "no price", between=before))
    new = fingerprint(kind, told(kind, places, "no price", lines=lines, between=after), task="shop.other")
    assert new == old


@given(KINDS, PLACES, st.integers(), st.integers(0, 2**64).map(hex), st.uuids(version=4), st.uuids(version=4))
def test_other_values_in_the_message_change_nothing(kind, places, number, address, one, other):
    seen = {
        fingerprint(kind, told(kind, places, f"order {each} at {where} of 'customer {each}' was refused"))
        for each, where in ((one, number), (other, address))
    }
    assert len(seen) == 1


@pytest.mark.parametrize("values", VALUES)
def test_two_values_of_a_sort_have_one_template(values):
    @given(values, values)
    def check(one, other):
        assert template(f"order {one} was refused") == template(f"order {other} was refused")

    check()


@given(KINDS, PLACES, st.integers(0, 4), st.integers())
def test_a_wrapper_changes_nothing(kind, places, depth, number):
    bare = fingerprint(kind, told(kind, places, "no price"))
    depth = min(depth, len(places) - 1)
    cause = told(kind, places[depth:], "no price")
    wrapper = told("RuntimeError", places[: depth + 1], f"order {number} failed")
    text = f"{cause}\nThe above exception was the direct cause of the following exception:\n\n{wrapper}"
    assert fingerprint("builtins.RuntimeError", text, f"order {number} failed") == bare
    twice = f"{text}\nThe above exception was the direct cause of the following exception:\n\n{wrapper}"
    assert fingerprint("builtins.RuntimeError", twice, f"order {number} failed") == bare


@given(PLACES, st.data())
def test_another_class_or_function_is_another_cause(places, data):
    kind, other_kind = data.draw(st.lists(KINDS, min_size=2, max_size=2, unique=True))
    here = fingerprint(kind, told(kind, places, "no price"))
    assert fingerprint(other_kind, told(other_kind, places, "no price")).id != here.id
    number = data.draw(st.integers(0, len(places) - 1))
    changed = [*places[:number], (places[number][0], data.draw(NAMES)), *places[number + 1 :]]
    if dict.fromkeys(changed) != dict.fromkeys(places):
        assert fingerprint(kind, told(kind, changed, "no price")).id != here.id
    assert fingerprint(kind, told(kind, places, "no stock")).id != here.id


@given(st.text(max_size=3_000), st.text(max_size=300), st.one_of(st.none(), st.text(max_size=30)))
def test_whatever_the_text_is_it_has_a_fingerprint_or_none(text, reason, error_type):
    found = of(task="shop.run", reason=reason, error_type=error_type, traceback=text)
    assert found is None or (len(found.id) == 12 and len(found.title) <= 250)


@pytest.mark.parametrize(
    "message",
    ["a." * 50_000, "a_" * 50_000, "'" * 50_000, "/" * 50_000, "1" * 50_000, "a-" * 2_400 + "!", "<n> " * 20_000,
     "@a" * 9_000, "x" * 200_000, "'\\" * 20_000, "http://" * 9_000, " " * 90_000 + "x", "ab:" * 9_000],
    ids=lambda message: message[:6],
)  # fmt: skip
@pytest.mark.timeout(20)  # a pattern that tries every way to read 5,000 letters takes years
def test_no_message_takes_long(message: str):
    assert len(template(message)) <= 200


@pytest.mark.timeout(20)
def test_a_very_long_traceback_is_read():
    text = told("ValueError", [("orders", f"f{chr(97 + n % 26)}") for n in range(20_000)], "no price")
    assert "in shop.orders.f" in fingerprint("ValueError", text).title


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("order 12 of 'ann' has no price", "order <n> of <value> has no price"),
        (
            "503 Server Error: Service Unavailable for url: https://a.example/x?y=1",
            "503 Server Error: Service Unavailable for url: <url>",
        ),
        ("HTTP 404 for order 12", "HTTP 404 for order <n>"),
        ("status code: 429, 30 s", "status code: 429, <n> s"),
        ("order 503 has no price", "order <n> has no price"),
        ("got 404 Not Found for customer 404 Smith", "got 404 Not Found for customer <n> Smith"),
        ("can't reach db-3.internal:5432, tried 3 times", "can't reach <n>, tried <n> times"),
        (
            "user 3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69 <ann@example.org> at 2026-11-25T09:45:00.123+01:00",
            "user <n> <<email>> at <n>",
        ),
        ("no such file: '/var/lib/shop/12.pdf'", "no such file: <value>"),
        ("no such file: /var/lib/shop/invoice.pdf", "no such file: <path>"),
        ("ids [1, 2, 3] are gone", "ids [<n>] are gone"),
        ("UNIQUE constraint failed: users.email", "UNIQUE constraint failed: users.email"),
        ("first line\nsecond 12", "first line"),
        ("", ""),
        ("  \n late", "late"),
    ],
)
def test_a_template_keeps_the_words(message: str, expected: str):
    assert template(message) == expected


def test_what_speaks_of_code_keeps_its_names():
    message = "'NoneType' object has no attribute 'price'"
    assert template(message, has_names=True) == message
    assert template(message) == "<value> object has no attribute <value>"
    assert template("got an unexpected keyword 'order_12'", has_names=True) == "got an unexpected keyword <value>"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/srv/shop/orders.py", "shop.orders"),
        ("/srv/shop/api/__init__.py", "api"),
        ("/srv/releases/20261125T0945/tasks.py", "tasks"),
        ("/opt/my-app/tasks.py", "tasks"),
        ("C:\\\\shop\\\\orders.py".replace("\\\\", "\\"), "shop.orders"),
        ("tasks.py", "tasks"),
    ],
)
def test_a_module_has_the_name_of_its_file_and_package(file: str, expected: str):
    assert module(file) == expected


def test_nothing_above_where_modules_are_imported_from_belongs_to_a_name():
    assert module("/home/ann/tasks.py", ["/home/ann", "/home"]) == "tasks"
    assert module("/home/ann/shop/tasks.py", ["/home/ann"]) == "shop.tasks"


def test_a_plain_retry_is_no_failure():
    assert of(task="a", reason="Retry in 3s", error_type="celery.exceptions.Retry", traceback=None) is None


def test_celerys_own_exceptions_about_retries_are_not_the_cause():
    cause = told("ValueError", [("orders", "price")], "no price")
    for kind, message in (("Retry", "Retry in 3s: ValueError()"), ("MaxRetriesExceededError", "Can't retry a[1]")):
        asked = told(f"celery.exceptions.{kind}", [("orders", "price")], message)
        text = f"{cause}\nDuring handling of the above exception, another exception occurred:\n\n{asked}"
        assert fingerprint("ValueError", text) == fingerprint("ValueError", cause)


def test_a_soft_time_limit_strikes_anywhere_and_is_one_cause():
    kind = "billiard.exceptions.SoftTimeLimitExceeded"
    texts = [told(kind, [("tasks", "run"), ("orders", function)], "SoftTimeLimitExceeded()") for function in ("a", "b")]
    assert fingerprint(kind, texts[0]) == fingerprint(kind, texts[1])


def test_without_a_traceback_the_task_is_the_place():
    one, other = (
        of(task=task, reason="its process died: signal 9 (SIGKILL) Job: 3.", error_type="WorkerLostError")
        for task in ("shop.a", "shop.b")
    )
    assert (one.title, other.title) == ("WorkerLostError in shop.a", "WorkerLostError in shop.b")
    assert one.id != other.id


def test_code_that_is_installed_as_a_package_is_found_where_there_is_no_other():
    text = told("ValueError", [], "no price").replace(
        "ValueError",
        '  File "/venv/lib/python3.12/site-packages/celery/app/trace.py", line 1, in trace\n'
        '  File "/venv/lib/python3.12/site-packages/shop/orders.py", line 1, in price\nValueError',
    )
    assert fingerprint("ValueError", text).title == "ValueError: no price in shop.orders.price"


def test_a_retry_for_an_exception_that_was_not_raised_is_a_failure_by_it():
    text = told("celery.exceptions.Retry", [("orders", "price")], "Retry in 3s: KeyError('not yet')")
    found = of(task="a", reason="KeyError: 'not yet'", error_type="builtins.KeyError", traceback=text)
    assert found is not None
    assert found.title == "KeyError: <value> in shop.orders.price"
