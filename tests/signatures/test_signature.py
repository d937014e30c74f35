"""A signature as it is written down."""

from __future__ import annotations

import enum
import inspect
import json
from typing import Any, Optional

import pytest
from hypothesis import given
from real_functions import signatures

from mirepoix.signatures.signature import (
    Kind,
    NotASignature,
    Parameter,
    Signature,
    from_json,
    signature_of,
    to_json,
)


class Colour(enum.Enum):
    RED = 1


def of(taker, **fields) -> Signature:
    return signature_of("task", inspect.signature(taker), **fields)


def parameters_of(taker):
    return {one.name: one for one in of(taker).parameters}


@given(signatures())
def test_json_brings_back_what_was_written(signature):
    assert from_json(to_json(signature)) == signature


def test_equal_signatures_are_written_with_the_same_characters():
    def one(a, *, b, c=1): ...
    def other(a, *, c=1, b): ...

    assert to_json(of(one)) == to_json(of(other))


def test_versions_aliases_and_upcasts_are_kept_in_order():
    def pay(): ...

    signature = of(pay, version=3, aliases=["b", "a", "a"], upcasts={2, 1})
    assert from_json(to_json(signature)) == signature
    assert (signature.version, signature.aliases, signature.upcasts) == (3, ("a", "b"), (1, 2))


def test_a_default_is_the_same_text_in_every_process():
    def takes(a=object(), b=frozenset({"x", "y", "z"}), c=Colour.RED, d=set(), e=len): ...  # noqa: B006, B008

    defaults = {name: one.default for name, one in parameters_of(takes).items()}
    assert defaults == {
        "a": "<object object>",
        "b": "frozenset({'x', 'y', 'z'})",
        "c": "<Colour.RED: 1>",
        "d": "set()",
        "e": "<built-in function len>",
    }


def test_a_default_that_cannot_be_shown_is_named_by_its_type():
    class Shy:
        def __repr__(self):
            raise RuntimeError

    def takes(a=Shy()): ...  # noqa: B008

    assert parameters_of(takes)["a"].default == "<Shy>"


def test_an_annotation_reads_as_it_was_written():
    def takes(a: "int | None", b, c): ...  # noqa: UP037

    takes.__annotations__.update(b=Optional[int], c=dict[str, Any])  # noqa: UP045

    found = {name: one.annotation for name, one in parameters_of(takes).items()}
    assert found["a"].strip("'\"") == "int | None"
    assert found["b"] in ("Optional[int]", "int | None")
    assert found["c"] == "dict[str, Any]" or found["c"] == "dict[str, typing.Any]"


@pytest.mark.parametrize(
    "parameters",
    [
        "order, amount=0",
        "order, /, amount: int = 0",
        "*, note",
        "a, /",
        "a, /, *, b=1",
        "*args, note, **options",
        "a, *args: int, **options: str",
    ],
)
def test_it_reads_as_python_writes_it(parameters):
    namespace: dict = {}
    exec(f"def takes({parameters}): ...", namespace)
    assert str(of(namespace["takes"])) == f"task({parameters})"


@pytest.mark.parametrize(
    "parameters",
    [
        (Parameter("a"), Parameter("a")),
        (Parameter("a", Kind.KEYWORD_ONLY), Parameter("b")),
        (Parameter("a", has_default=True), Parameter("b")),
        (Parameter("a", Kind.VAR_KEYWORD), Parameter("b", Kind.VAR_KEYWORD)),
        (Parameter("a", Kind.VAR_POSITIONAL, has_default=True),),
    ],
)
def test_what_python_would_refuse_is_no_signature(parameters):
    with pytest.raises(NotASignature):
        Signature("task", 1, parameters)


@pytest.mark.parametrize(
    "change",
    [
        {"task": 1},
        {"version": 0},
        {"version": True},
        {"aliases": "x"},
        {"upcasts": ["x"]},
        {"parameters": None},
        {"parameters": ["a"]},
        {"parameters": [{"name": "a b", "kind": "keyword-only"}]},
        {"parameters": [{"name": "a", "kind": "by heart"}]},
        {"parameters": [{"name": "a", "kind": "keyword-only", "default": 1}]},
    ],
)
def test_a_wrong_document_is_refused(change):
    document = {"task": "t", "version": 1, "parameters": [], **change}
    with pytest.raises(NotASignature):
        from_json(json.dumps(document))


def test_keys_from_the_future_are_passed_over():
    parameter = {"name": "a", "kind": "keyword-only", "colour": "red"}
    found = from_json(json.dumps({"task": "t", "parameters": [parameter], "since": "2027"}))
    assert found == Signature("t", 1, (Parameter("a", Kind.KEYWORD_ONLY),))


@pytest.mark.parametrize(
    ("version", "upcasts", "of_payload", "missing"),
    [(1, (), 1, []), (3, (1, 2), 1, []), (3, (1,), 1, [2]), (3, (), 1, [1, 2]), (3, (2,), 2, []), (2, (1,), 3, [3])],
)
def test_the_way_from_a_payload_s_version_is_complete_or_not(version, upcasts, of_payload, missing):
    assert Signature("task", version, upcasts=upcasts).missing_upcasters(of_payload) == missing
