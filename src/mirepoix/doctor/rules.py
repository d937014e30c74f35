"""What a rule of the doctor is, and the list of all rules. ``docs/reference/doctor.md`` has the same list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from mirepoix.doctor.facts import Facts


class Severity(StrEnum):
    """What a finding means. An info does not change the exit code."""

    ERROR = "error"  # tasks are lost, run twice or stand still, or will
    WARNING = "warning"  # they will if something else fails
    INFO = "info"


Look = Callable[[Facts], Iterator[str]]
"""A check. It yields the evidence of each finding."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One check, with what it means and what to do."""

    code: str
    severity: Severity
    title: str
    remedy: str
    look: Look


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has found. *evidence* names the setting, task, file or value."""

    code: str
    severity: Severity
    title: str
    evidence: str
    remedy: str
    link: str


RULES: dict[str, Rule] = {}
UNJUDGED = "Give the settings that the rule reads the type that Celery documents, or leave the rule out with --ignore."


def rule(code: str, severity: Severity, title: str, remedy: str) -> Callable[[Look], Look]:
    """Add a check to the list."""

    def add(look: Look) -> Look:
        assert code not in RULES, code
        RULES[code] = Rule(code, severity, title, remedy, look)
        return look

    return add


def found_by(rule: Rule, facts: Facts) -> Iterator[Finding]:
    """Return what one rule finds. A rule that fails is a warning, which names the type of the error and no value."""
    link = f"docs/reference/doctor.md#{rule.code.lower()}"
    try:
        for evidence in rule.look(facts):
            yield Finding(rule.code, rule.severity, rule.title, evidence, rule.remedy, link)
    except Exception as error:  # noqa: BLE001 (a setting can hold any object)
        title = f"this rule could not be judged: {type(error).__name__}"
        yield Finding(rule.code, Severity.WARNING, title, f"it looks for: {rule.title}", UNJUDGED, link)
