"""The signature of a task as text that can be stored, compared and sent."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class NotASignature(ValueError):
    """The input does not describe a signature. The message says why."""


class Kind(StrEnum):
    """How a parameter may be passed, in Python's words (``inspect.Parameter.kind.description``)."""

    POSITIONAL_ONLY = "positional-only"
    EITHER = "positional or keyword"
    VAR_POSITIONAL = "variadic positional"
    KEYWORD_ONLY = "keyword-only"
    VAR_KEYWORD = "variadic keyword"


_ORDER = {kind: place for place, kind in enumerate(Kind)}
_POSITIONAL = (Kind.POSITIONAL_ONLY, Kind.EITHER)
_VARIADIC = (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. ``default`` and ``annotation`` are text for comparison and reading, and are never evaluated."""

    name: str
    kind: Kind = Kind.EITHER
    has_default: bool = False
    default: str = ""
    annotation: str = ""

    @property
    def is_required(self) -> bool:
        """Whether a call must pass it."""
        return not self.has_default and self.kind not in _VARIADIC

    def __str__(self) -> str:
        stars = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}.get(self.kind, "")
        text = f"{stars}{self.name}" + (f": {self.annotation}" if self.annotation else "")
        if not self.has_default:
            return text
        return f"{text} = {self.default}" if self.annotation else f"{text}={self.default}"


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a task at one version.

    ``aliases`` are other names under which it takes payloads. ``upcasts`` are the versions with an upcaster to the next
    version. The ``self`` of a bound task is not among the parameters.

    Raises NotASignature for parameters that Python would not accept, such as two of the same name.
    """

    task: str
    version: int = 1
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    upcasts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise NotASignature(f"two parameters are named {name!r}")
        for before, after in zip(self.parameters, self.parameters[1:], strict=False):
            if _ORDER[before.kind] > _ORDER[after.kind]:
                raise NotASignature(f"{before.name!r} ({before.kind}) stands before {after.name!r} ({after.kind})")
            if before.kind is after.kind and before.kind in _VARIADIC:
                raise NotASignature(f"{before.name!r} and {after.name!r} are both {before.kind}")
        has_defaults = [parameter.has_default for parameter in self.positional]
        if has_defaults != sorted(has_defaults):
            raise NotASignature("a positional parameter without a default stands after one with a default")
        if any(parameter.has_default for parameter in self.parameters if parameter.kind in _VARIADIC):
            raise NotASignature("a variadic parameter has a default")

    @property
    def positional(self) -> tuple[Parameter, ...]:
        """The parameters that can be passed by position, in order, without ``*args``."""
        return tuple(parameter for parameter in self.parameters if parameter.kind in _POSITIONAL)

    @property
    def keyword_only(self) -> tuple[Parameter, ...]:
        """The parameters that can only be passed by keyword."""
        return tuple(parameter for parameter in self.parameters if parameter.kind is Kind.KEYWORD_ONLY)

    @property
    def var_positional(self) -> Parameter | None:
        """``*args``, or None."""
        return self._only(Kind.VAR_POSITIONAL)

    @property
    def var_keyword(self) -> Parameter | None:
        """``**kwargs``, or None."""
        return self._only(Kind.VAR_KEYWORD)

    def missing_upcasters(self, version: int) -> list[int]:
        """List the versions between a payload's *version* and this one that have no upcaster.

        The list is empty if the payload can be taken. A later version cannot be converted back, so it is in the list.
        """
        if version > self.version:
            return [version]
        return [step for step in range(version, self.version) if step not in self.upcasts]

    def named(self, name: str) -> Parameter | None:
        """Return the parameter of that name, or None."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def __str__(self) -> str:
        """Return the signature in Python's syntax: ``shop.charge(order: int, /, amount=0)``."""
        shown: list[str] = []
        for number, parameter in enumerate(self.parameters):
            is_first_by_keyword = parameter.kind is Kind.KEYWORD_ONLY and parameter == self.keyword_only[0]
            if is_first_by_keyword and self.var_positional is None:
                shown.append("*")
            shown.append(str(parameter))
            after = self.parameters[number + 1 : number + 2]
            if parameter.kind is Kind.POSITIONAL_ONLY and not (after and after[0].kind is Kind.POSITIONAL_ONLY):
                shown.append("/")
        return f"{self.task}({', '.join(shown)})"

    def _only(self, kind: Kind) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.kind is kind), None)


def signature_of(
    task: str,
    found: inspect.Signature,
    *,
    version: int = 1,
    aliases: Iterable[str] = (),
    upcasts: Iterable[int] = (),
) -> Signature:
    """Return the signature of *task* from Python's description *found* of its function, without a bound ``self``.

    Keyword-only parameters are sorted, because their order has no meaning. Python ignores it too.
    """
    parameters = [_parameter(parameter) for parameter in found.parameters.values()]
    by_keyword = sorted(
        (parameter for parameter in parameters if parameter.kind is Kind.KEYWORD_ONLY),
        key=lambda parameter: parameter.name,
    )
    before = [parameter for parameter in parameters if _ORDER[parameter.kind] < _ORDER[Kind.KEYWORD_ONLY]]
    after = [parameter for parameter in parameters if parameter.kind is Kind.VAR_KEYWORD]
    return Signature(
        task, version, (*before, *by_keyword, *after), tuple(sorted(set(aliases))), tuple(sorted(set(upcasts)))
    )


def to_json(signature: Signature) -> str:
    """Encode *signature* as canonical JSON. Equal signatures give equal text."""
    document = {"task": signature.task, **as_document(signature)}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Signature:
    """Decode the text that `to_json` wrote. Raises NotASignature, with the reason, for anything else."""
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("task"), str):
        raise NotASignature("it is not an object with a task's name")
    return from_document(document["task"], document)


def as_document(signature: Signature) -> dict[str, Any]:
    """Return *signature* as JSON values, without the task's name and without empty fields."""
    found: dict[str, Any] = {"version": signature.version}
    if signature.aliases:
        found["aliases"] = list(signature.aliases)
    if signature.upcasts:
        found["upcasts"] = list(signature.upcasts)
    found["parameters"] = [_parameter_document(parameter) for parameter in signature.parameters]
    return found


def from_document(task: str, document: Any) -> Signature:
    """Decode a document of `as_document`. Unknown keys are ignored. Raises NotASignature with the reason."""
    if not isinstance(document, Mapping):
        raise NotASignature("it is no object")
    version = document.get("version", 1)
    if not _is_version(version):
        raise NotASignature(f"its version is {version!r}, which is not a whole number above 0")
    aliases, upcasts = document.get("aliases", []), document.get("upcasts", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise NotASignature("its aliases are not a list of names")
    if not isinstance(upcasts, list) or not all(_is_version(upcast) for upcast in upcasts):
        raise NotASignature("its upcasts are not a list of versions")
    parameters = document.get("parameters")
    if not isinstance(parameters, list):
        raise NotASignature("its parameters are not a list")
    return Signature(
        task, version, tuple(_parameter_from(parameter) for parameter in parameters), tuple(aliases), tuple(upcasts)
    )


def _is_version(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _parameter(found: inspect.Parameter) -> Parameter:
    has_default = found.default is not found.empty
    return Parameter(
        found.name,
        Kind(found.kind.description),
        has_default,
        _default_text(found.default) if has_default else "",
        "" if found.annotation is found.empty else _annotation_text(found.annotation),
    )


def _default_text(value: Any) -> str:
    """Return the same text in every process: without memory addresses, and with sorted sets."""
    if isinstance(value, (set, frozenset)) and value:
        inner = "{" + ", ".join(sorted(_default_text(item) for item in value)) + "}"
        return inner if isinstance(value, set) else f"frozenset({inner})"
    try:
        return _one_line(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001 (a default is anybody's object)
        return f"<{type(value).__name__}>"


def _annotation_text(annotation: Any) -> str:
    if isinstance(annotation, str):
        return _one_line(annotation)
    return _one_line(_ADDRESS.sub("", inspect.formatannotation(annotation)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _parameter_document(parameter: Parameter) -> dict[str, str]:
    found = {"name": parameter.name, "kind": str(parameter.kind)}
    if parameter.annotation:
        found["annotation"] = parameter.annotation
    if parameter.has_default:
        found["default"] = parameter.default
    return found


def _parameter_from(document: Any) -> Parameter:
    if not isinstance(document, Mapping):
        raise NotASignature(f"the parameter {document!r} is not an object")
    name, kind = document.get("name"), document.get("kind")
    if not isinstance(name, str) or not name.isidentifier():
        raise NotASignature(f"a parameter's name is {name!r}")
    if kind not in set(Kind):
        raise NotASignature(f"the kind of parameter {name!r} is {kind!r}, which is none of: {', '.join(Kind)}")
    texts = {key: document.get(key, "") for key in ("annotation", "default")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise NotASignature(f"the {key} of parameter {name!r} is not text")
    return Parameter(name, Kind(kind), "default" in document, texts["default"], texts["annotation"])
