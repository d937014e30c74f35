"""Validate the arguments that are pydantic's models, of tasks with ``pydantic=True``, where the call is made."""

from __future__ import annotations

import inspect
from typing import Any

from kombu.utils.json import dumps, loads
from pydantic import ValidationError

from mirepoix.signatures.checks import Check
from mirepoix.signatures.hints import Hint

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def model_hints(validator: Any, signature: inspect.Signature) -> dict[str, Hint]:
    """The hints of the parameters that are models, by name; *validator* is Celery's wrapper of the task's function.

    Which parameters are models, and how they are validated (strictly, in which context), is asked of that wrapper: the
    worker asks it, too. The validators of the models run, as often as the call is checked. Empty if it cannot be asked:
    it has these functions since Celery 5.7.
    """
    cells = dict(zip(validator.__code__.co_freevars, validator.__closure__, strict=True))
    if not {"get_argument_model", "validate_argument"} <= cells.keys():
        return {}
    model_of = cells["get_argument_model"].cell_contents
    validate = cells["validate_argument"].cell_contents
    found = {}
    for one in signature.parameters.values():
        model = None if one.kind in _VARIADIC else model_of(one.name, object())
        if model is not None:
            is_optional = model_of(one.name, None) is None
            expected = f"{model.__name__}{' or None' if is_optional else ''}"
            found[one.name] = Hint(one.name, expected, _check(one.name, model_of, validate))
    return found


def _check(name: str, model_of: Any, validate: Any) -> Check:
    def check(value: Any) -> str | None:
        model = model_of(name, value)
        if model is None:  # Optional, and None
            return None
        try:
            validate(model, value)
        except ValidationError as error:
            return None if _arrives_valid(model, value, validate) else _words(model, value, error)
        except Exception:  # noqa: BLE001 (a validator of the user's may work on a worker only)
            return None
        return None

    return check


def _arrives_valid(model: Any, value: Any, validate: Any) -> bool:
    """Whether it is valid once JSON has brought it, a tuple as a list, say; True as well if nobody can tell."""
    try:
        validate(model, loads(dumps(value)))
    except ValidationError:
        return False
    except Exception:  # noqa: BLE001 (it cannot be sent at all, which Celery will say, or see above)
        return True
    return True


def _words(model: Any, value: Any, error: ValidationError) -> str:
    """The type of the value, and the first complaint: its field, if the model names it, and its code."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # A key that is no field is the payload's, and may be anything; a complaint's message may hold the value.
    field = next(iter(first["loc"]), None)
    where = f"{field}: " if field in model.model_fields else ""
    return f"{type(value).__name__} ({where}{first['type']})"
