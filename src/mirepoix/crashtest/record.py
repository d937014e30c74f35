"""Write reports as JSON, for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mirepoix.crashtest.points import Point
from mirepoix.crashtest.report import rerun


def record(reports: Sequence[Any]) -> str:
    """Return the findings of *reports* (`mirepoix.crashtest.check.Report`). Only ``rerun`` contains arguments of tasks.

    ``redelivery`` lists the points of a redelivery that died too. The second part of ``at`` is an index in it.
    """
    return json.dumps([_task(report) for report in reports], indent=2) + "\n"


def _task(report: Any) -> dict[str, Any]:
    explored = report.explored
    return {
        "task": explored.call.task.name,
        "is_safe": report.is_safe,
        "mode": explored.mode,
        "state": explored.state,
        "points": [_point(point) for point in explored.points],
        "is_killed": explored.is_killed,
        "crashes": len(explored.tried),
        "not_explored": len(explored.not_explored),
        "unmodelled": list(explored.unmodelled),
        "masked": list(explored.masks),
        "took_s": round(explored.took_s, 3),
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "words": finding.words,
                "consequences": list(finding.consequences),
                "remedy": finding.remedy,
                "at": str(finding.schedule),
                "redelivery": [_point(point) for point in explored.again(finding.schedule)],
                "rerun": rerun(explored, finding.schedule),
            }
            for finding in report.findings
        ],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "kind": point.kind,
        "label": point.label,
        "is_durable": point.is_durable,
        "file": point.source.path,
        "line": point.source.line,
    }
