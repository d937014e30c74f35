"""The verdict on all calls at once, against every call up to a bound, bound by real functions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from real_functions import NAMES, call, function, shapes, signatures

from mirepoix.signatures.compatibility import Cause, Verdict, judge, obstacles
from mirepoix.signatures.shape import fits_shape

KEYWORDS = (*NAMES, "x")
"""One more than any signature has: a keyword that only ``**kwargs`` takes."""


def what_happens(writer, reader):
    """The worst that becomes of any call, by trying them all on real functions."""
    found = set()
    write, read = function(writer), function(reader)
    for shape in shapes(6, KEYWORDS):
        meant = call(write, shape)
        if meant is None:
            continue
        comes = call(read, shape)
        found.add("parks" if comes is None else "wrong" if comes != meant else "safe")
    return found - {"safe"}


@settings(max_examples=300)
@given(signatures(), signatures())
def test_the_verdict_is_what_happens_to_real_calls(old, new):
    for writer, reader in ((old, new), (new, old)):
        happens = what_happens(writer, reader)
        assert {one.verdict.value for one in obstacles(writer, reader)} == happens, (str(writer), str(reader))
        expected = "wrong" if "wrong" in happens else "parks" if happens else "safe"
        assert judge(writer, reader) == expected


@given(signatures(), signatures())
def test_each_example_shows_what_it_is_an_example_of(writer, reader):
    write, read = function(writer), function(reader)
    for one in obstacles(writer, reader):
        shape = one.example
        meant, comes = call(write, shape), call(read, shape)
        assert meant is not None, (str(writer), str(shape))
        if one.cause is Cause.MISPLACED:
            assert comes is not None
            assert comes[str(one.position)] != meant[str(one.position)]
        else:
            assert comes is None, (str(reader), str(shape))
            assert one.why in (fits_shape(reader, shape), "unexpected keywords")


@given(signatures())
def test_a_signature_takes_all_of_its_own_calls(signature):
    assert obstacles(signature, signature) == []


@pytest.mark.parametrize("count", [12, 40])
def test_many_parameters_are_judged_at_once(count):
    from mirepoix.signatures.signature import Parameter, Signature

    many = tuple(Parameter(f"p{number}", has_default=True) for number in range(count))
    assert judge(Signature("task", 1, many), Signature("task", 1, many[:-1])) is Verdict.PARKS
    assert judge(Signature("task", 1, many), Signature("task", 1, many[::-1])) is Verdict.WRONG
