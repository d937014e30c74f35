"""Format a report as text, JSON, GitHub annotations or SARIF 2.1.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirepoix.lint.rules import RULES, Level
from mirepoix.lint.run import Located, Report

GITHUB = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}
SARIF = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "note"}


def as_text(report: Report) -> str:
    """Format each finding as a line ``path:line:column: CODE message``."""
    lines = [
        f"{_place(located)}: {located.finding.code} {_level(located)}{located.finding.message}"
        for located in report.found
    ]
    return "".join(f"{_printable(line)}\n" for line in lines)


def as_json(report: Report) -> str:
    """Format the report as one object. Its findings have path, line, column, code, level and message."""
    found = [
        {
            "path": str(located.path),
            "line": located.finding.line,
            "column": located.finding.column,
            "code": located.finding.code,
            "level": located.level,
            "message": located.finding.message,
        }
        for located in report.found
    ]
    whole = {"files": report.files, "keeps_ledger": report.keeps_ledger, "findings": found}
    return json.dumps(whole, indent=2) + "\n"


def as_github(report: Report) -> str:
    """Format each finding as a workflow command."""
    return "".join(
        f"::{GITHUB[located.level]} file={_property(str(located.path))},"
        f"line={located.finding.line},col={located.finding.column},"
        f"title={located.finding.code}::{_data(located.finding.message)}\n"
        for located in report.found
    )


def as_sarif(report: Report) -> str:
    """Format the report as SARIF, for code scanning."""
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


def _result(located: Located) -> dict[str, Any]:
    region = {"startLine": located.finding.line, "startColumn": located.finding.column}
    place = {"artifactLocation": {"uri": Path(located.path).as_posix()}, "region": region}
    return {
        "ruleId": located.finding.code,
        "level": SARIF[located.level],
        "message": {"text": located.finding.message},
        "locations": [{"physicalLocation": place}],
    }


def _place(located: Located) -> str:
    return f"{located.path}:{located.finding.line}:{located.finding.column}"


def _level(located: Located) -> str:
    return "" if located.level is Level.ERROR else f"[{located.level}] "


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
