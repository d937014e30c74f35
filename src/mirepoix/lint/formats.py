"""A report for people, for programs, for GitHub's annotations, and as SARIF 2.1.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirepoix.lint.rules import RULES, Level
from mirepoix.lint.run import Located, Report

GITHUB = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}
SARIF = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "note"}


def as_text(report: Report) -> str:
    """``path:line:column: CODE message``, one a line."""
    lines = [f"{_place(one)}: {one.finding.code} {_level(one)}{one.finding.message}" for one in report.found]
    return "".join(f"{_printable(line)}\n" for line in lines)


def as_json(report: Report) -> str:
    """One object; its findings have path, line, column, code, level and message."""
    found = [
        {
            "path": str(one.path),
            "line": one.finding.line,
            "column": one.finding.column,
            "code": one.finding.code,
            "level": one.level,
            "message": one.finding.message,
        }
        for one in report.found
    ]
    whole = {"files": report.files, "keeps_ledger": report.keeps_ledger, "findings": found}
    return json.dumps(whole, indent=2) + "\n"


def as_github(report: Report) -> str:
    """A workflow command for each finding."""
    return "".join(
        f"::{GITHUB[one.level]} file={_property(str(one.path))},line={one.finding.line},col={one.finding.column},"
        f"title={one.finding.code}::{_data(one.finding.message)}\n"
        for one in report.found
    )


def as_sarif(report: Report) -> str:
    """For code scanning."""
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.name},
            "fullDescription": {"text": rule.reason},
            "defaultConfiguration": {"level": SARIF[rule.level]},
        }
        for rule in RULES.values()
    ]
    run = {"tool": {"driver": {"name": "mirepoix lint", "rules": rules}}, "results": [_result(o) for o in report.found]}
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2) + "\n"


FORMATS = {"text": as_text, "json": as_json, "github": as_github, "sarif": as_sarif}


def _result(one: Located) -> dict[str, Any]:
    region = {"startLine": one.finding.line, "startColumn": one.finding.column}
    place = {"artifactLocation": {"uri": Path(one.path).as_posix()}, "region": region}
    return {
        "ruleId": one.finding.code,
        "level": SARIF[one.level],
        "message": {"text": one.finding.message},
        "locations": [{"physicalLocation": place}],
    }


def _place(one: Located) -> str:
    return f"{one.path}:{one.finding.line}:{one.finding.column}"


def _level(one: Located) -> str:
    return "" if one.level is Level.ERROR else f"[{one.level}] "


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
