"""Whether a call fits, asked of real functions."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from real_functions import NAMES, bind, call, function, shapes, signatures

from mirepoix.signatures.shape import Shape, fits, fits_shape
from mirepoix.signatures.signature import Kind, Signature, signature_of

KEYWORDS = (*NAMES, "x")


def of(taker) -> Signature:
    return signature_of("task", inspect.signature(taker))


@given(signatures())
def test_a_call_fits_exactly_when_python_takes_it(signature):
    taker = function(signature)
    for shape in shapes(len(signature.positional) + 2, KEYWORDS):
        refused = fits_shape(signature, shape) is not None
        assert refused == (call(taker, shape) is None), (str(signature), str(shape))


@given(signatures())
def test_a_call_fits_exactly_when_inspect_binds_it(signature):
    taker = function(signature)
    by_position = {one.name for one in signature.parameters if one.kind is Kind.POSITIONAL_ONLY}
    for shape in shapes(len(signature.positional) + 2, KEYWORDS):
        if signature.var_keyword and by_position & shape.keywords:
            continue  # bind() of Python 3.11 and 3.12 refuses what Python takes
        assert (fits_shape(signature, shape) is None) == bind(taker, shape), (str(signature), str(shape))


@given(signatures())
def test_the_function_that_judges_has_the_signature_that_is_judged(signature):
    found = of(function(signature))
    assert sorted(map(str, found.parameters)) == sorted(map(str, signature.parameters))
    assert found.positional == signature.positional


def charge(order, amount, /, currency="EUR", *, note, silent=False): ...


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((1, 2), {"note": "x"}, None),
        ((1,), {"note": "x"}, "missing amount"),
        ((), {}, "missing order, amount and note"),
        ((1, 2), {"note": "x", "tax": 1, "vat": 2}, "unexpected keyword tax and vat"),
        ((1, 2, 3, 4), {"note": "x"}, "too many positional arguments (4 given, 3 taken)"),
        ((1, 2, 3), {"note": "x", "currency": 5}, "multiple values for currency"),
        ((1,), {"amount": 2, "note": 0}, "missing amount; positional-only, but given by keyword: amount"),
        ((1, 2), {"note": 1, 5: 6}, "a keyword is not text"),
        ((1, 2), {"note": 1, **dict.fromkeys("abcdefg")}, "unexpected keyword a, b, c, d, e and 2 more"),
    ],
)
def test_the_reason_names_parameters(args, kwargs, reason):
    assert fits(of(charge), args, kwargs) == reason


def test_the_reason_never_holds_a_value():
    reason = fits(of(charge), ("secret",), {"tax": "secret"})
    assert reason is not None
    assert "secret" not in reason


def test_a_shape_reads_like_the_call():
    assert str(Shape(2, frozenset({"note", "amount"}))) == "(·, ·, amount=·, note=·)"
