"""Every pair of signatures over two names: the verdict is what happens to real calls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import pytest
from real_functions import call, function, shapes

from mirepoix.signatures.compare import compare
from mirepoix.signatures.compatibility import obstacles, worst
from mirepoix.signatures.signature import Kind, NotASignature, Parameter, Signature

SHAPES = list(shapes(4, ("a", "b", "x")))
STRIDE = 23
"""A default run tries each of so many pairs, `--all` every pair, which takes minutes."""


def every_signature() -> Iterator[Signature]:
    orders = [names for count in range(3) for names in permutations("ab", count)]
    for names, has_rest, has_others in product(orders, (False, True), (False, True)):
        plain = (Kind.POSITIONAL_ONLY, Kind.EITHER, Kind.KEYWORD_ONLY)
        for kinds in product(plain, repeat=len(names)):
            for defaults in product((False, True), repeat=len(names)):
                found = [
                    Parameter(name, kind, has_default, "None" if has_default else "")
                    for name, kind, has_default in zip(names, kinds, defaults, strict=True)
                ]
                found += [Parameter("v", Kind.VAR_POSITIONAL)] * has_rest + [
                    Parameter("w", Kind.VAR_KEYWORD)
                ] * has_others
                found.sort(key=lambda one: list(Kind).index(one.kind))
                try:
                    yield Signature("task", 1, tuple(found))
                except NotASignature:
                    continue  # a default in front of a parameter without one


@pytest.mark.slow
def test_the_verdict_on_every_pair_is_what_happens(pytestconfig: pytest.Config):
    every = list(dict.fromkeys(every_signature()))
    outcomes = [[call(function(one), shape) for shape in SHAPES] for one in every]
    pairs = [(number, other) for number in range(len(every)) for other in range(len(every))]
    for number, other in pairs[:: 1 if pytestconfig.option.combinations == "all" else STRIDE]:
        happens = {
            "parks" if comes is None else "wrong"
            for meant, comes in zip(outcomes[number], outcomes[other], strict=True)
            if meant is not None and comes != meant
        }
        writer, reader = every[number], every[other]
        assert {one.verdict.value for one in obstacles(writer, reader)} == happens, (str(writer), str(reader))
        verdict = worst(*(one.old_to_new for one in compare(writer, reader)))
        assert verdict == ("wrong" if "wrong" in happens else "parks" if happens else "safe")
