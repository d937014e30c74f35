# ruff: noqa: UP007, UP045, PYI061 (these are what people write)
"""Which arguments are of another type than their annotation says; and that nothing right is ever called wrong."""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from mirepoix.signatures.checks import check_of
from mirepoix.signatures.hints import Hints, Mistype, hints_of, mistypes, resolved_annotations

Key = NewType("Key", int)


class Line(TypedDict):
    sku: str
    count: NotRequired[int]


class Tree(TypedDict):
    children: list[Tree]


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    YES = "yes"


class Opaque:
    """Nobody knows what a serializer makes of it."""


class Shown:
    def __json__(self):
        return 5


NOW = datetime(2026, 1, 1, tzinfo=UTC)

RIGHT = [
    (int, 1),
    (float, 1.5),
    (float, 1),
    (str, "a"),
    (bool, True),
    (None, None),
    (bytes, b"a"),
    (list, [1, "a"]),
    (list[int], []),
    (list[int], (1, 2)),
    (tuple[int, str], [1, "a"]),
    (tuple[int, ...], [1, 2, 3]),
    (tuple, [1]),
    (Sequence[int], [1]),
    (Sequence[str], "abc"),
    (dict, {1: 2}),
    (dict[str, int], {"a": 1}),
    (dict[int, int], {"1": 1}),
    (Mapping[str, list[int]], {"a": [1]}),
    (Optional[int], None),
    (int | None, 1),
    (Union[int, str], "a"),
    (Literal["a", "b"], "a"),
    (Literal["yes"], Word.YES),
    (Literal[1, None], None),
    (Line, {"sku": "a"}),
    (Line, {"sku": "a", "count": 1, "more": 2}),
    (Tree, {"children": [{"children": []}]}),
    (Key, 1),
    (Annotated[int, "of a kind"], 1),
    (datetime, NOW),
    (date, date(2026, 1, 1)),
    (date, NOW),
    (time, time(1)),
    (Decimal, Decimal(1)),
    (UUID, uuid4()),
    (str, Word.YES),
    # What cannot be told is not told.
    (int, Opaque()),
    (int, Shown()),
    (list[int], [Opaque()]),
    (Union[int, Opaque], "a"),
    (Colour, "red"),
    (Opaque, 1),
    (Any, 1),
    (object, 1),
    (set[int], [1]),
    (typing.TypeVar("T"), 1),
    ("no type at all", 1),
    (Literal[Colour.RED], "red"),
    (Annotated[int, []], "a"),
]

WRONG = [
    (int, "1", "str"),
    (int, 1.0, "float"),
    (int, True, "bool"),
    (int, None, "None"),
    (float, "1", "str"),
    (float, True, "bool"),
    (str, 1, "int"),
    (str, b"a", "bytes"),
    (bool, 1, "int"),
    (None, 0, "int"),
    (list, {"a": 1}, "dict"),
    (list[int], "abc", "str"),
    (list[int], [1, "a"], "a list with str in it"),
    (list[list[int]], [[1], [None]], "a list with a list with None in it in it"),
    (tuple[int, str], [1, 2], "a list with int in it"),
    (tuple[int, str], [1], "a list of 1"),
    (Sequence[int], ["a"], "a list with str in it"),
    (dict[str, int], {"a": "b"}, "a dict with str in it"),
    (dict, [], "list"),
    (int | None, "a", "str"),
    (Union[int, list[str]], [1], "a list with int in it"),
    (Literal["a", "b"], "c", "another str"),
    (Literal["a", "b"], 1, "int"),
    (Literal[1], True, "bool"),
    (Line, {"count": 1}, "a dict without sku"),
    (Line, {"sku": "a", "count": "1"}, "a dict whose count is str"),
    (Line, "a", "str"),
    (Tree, {"children": [{}]}, "a dict whose children is a list with a dict without children in it"),
    (Key, "a", "str"),
    (datetime, "2026-01-01", "str"),
    (datetime, date(2026, 1, 1), "date"),
    (Decimal, 1.5, "float"),
    (UUID, "a", "str"),
]


@pytest.mark.parametrize(("annotation", "value"), RIGHT, ids=map(str, range(len(RIGHT))))
def test_what_is_right_is_never_called_wrong(annotation, value):
    check = check_of(annotation)
    assert check is None or check(value) is None


@pytest.mark.parametrize(("annotation", "value", "found"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_is_wrong_is_told_by_its_type(annotation, value, found):
    check = check_of(annotation)
    assert check is not None
    assert check(value) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KNOWN = JSON | st.datetimes() | st.dates() | st.times() | st.decimals(allow_nan=False) | st.uuids() | st.binary()
ANNOTATIONS = st.sampled_from([annotation for annotation, _ in RIGHT])


@given(ANNOTATIONS, KNOWN)
def test_the_verdict_on_the_caller_s_value_is_that_on_what_arrives(annotation, value):
    check = check_of(annotation)
    if check is not None:
        assert (check(value) is None) == (check(loads(dumps(value))) is None)


@given(st.sampled_from([int, float, str, bool, bytes, datetime, time, Decimal, UUID, None]), KNOWN)
def test_a_plain_type_takes_its_own_values_and_no_others(annotation, value):
    check = check_of(annotation)
    assert check is not None
    own = type(value) is (annotation or type(None)) or (annotation is float and type(value) is int)
    assert (check(value) is None) == own


@given(ANNOTATIONS, KNOWN)
def test_what_is_said_never_holds_a_value(annotation, value):
    check = check_of(annotation)
    secret = {"secret-key": "secret"} if isinstance(value, dict) else value
    for given_ in (secret, "secret", ["secret"], {"secret": "secret"}):
        found = None if check is None else check(given_)
        assert found is None or "secret" not in found


def of(function) -> Hints:
    hints = hints_of(inspect.signature(function), resolved_annotations(function))
    assert hints is not None
    return hints


def charge(order: int, amount: float = None, /, *rest: int, note: str, **options: bool): ...  # noqa: RUF013


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((1, 2.0), {"note": "x"}, []),
        ((1, None), {"note": "x"}, []),
        (("1",), {"note": 5}, ["order must be int, not str", "note must be str, not int"]),
        ((1, "2"), {}, ["amount must be float or None, not str"]),
        ((1, 2, 3, "4"), {}, ["rest must be int, not str"]),
        ((), {"note": "a", "silent": 1}, ["silent must be bool, not int"]),
        ((), {"order": 5}, ["order must be bool, not int"]),  # positional-only: it comes to **options
        ((), {}, []),
    ],
)
def test_each_argument_is_held_against_its_own_parameter(args, kwargs, said):
    assert [str(one) for one in mistypes(of(charge), args, kwargs)] == said


def test_too_many_arguments_are_not_its_concern():
    def takes(a: int): ...

    assert mistypes(of(takes), (1, "b"), {"c": "d"}) == []


def test_an_annotation_that_cannot_be_found_hides_no_other():
    def takes(a: Nowhere, b: int): ...  # noqa: F821

    assert mistypes(of(takes), ("a", "b"), {}) == [Mistype("b", "int", "str")]


def test_a_function_without_annotations_has_no_hints():
    def takes(a, b: Nowhere, *args, **kwargs): ...  # noqa: F821

    assert hints_of(inspect.signature(takes), resolved_annotations(takes)) is None
