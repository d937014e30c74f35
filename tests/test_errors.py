"""Every error of ours says what it says on the other side of a pipe, too."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import mirepoix.celery.capture  # noqa: F401  (errors are also made there)
from mirepoix.errors import MirepoixError

GIVEN = {
    "str": "something",
    "int": 17,
    "object": ConnectionResetError("gone"),
}


def tree(cls: type[MirepoixError]) -> Iterator[type[MirepoixError]]:
    """The class and all below it."""
    yield cls
    for below in cls.__subclasses__():
        yield from tree(below)


def made(cls: type[MirepoixError]) -> MirepoixError:
    """One of them, with facts of the types that it asks for."""
    own = next((base for base in cls.__mro__ if issubclass(base, MirepoixError) and "__init__" in vars(base)), None)
    if own is None:
        return cls("it went wrong")
    _, *parameters = inspect.signature(own.__init__).parameters.values()
    return cls(*(GIVEN[one.annotation] for one in parameters))


@pytest.mark.parametrize("cls", sorted({*tree(MirepoixError)}, key=lambda cls: cls.__name__))
def test_an_error_is_the_same_after_pickling(cls: type[MirepoixError]) -> None:
    error = made(cls)
    error.add_note("while sending")
    copy: Any = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))
