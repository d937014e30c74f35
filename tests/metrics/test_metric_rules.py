"""The alert rules and the dashboard: Prometheus accepts them, each alert fires, and each metric in them exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from missing import missing

RULES = files("mirepoix.metrics") / "rules.yml"
DASHBOARD = files("mirepoix.metrics") / "dashboard.json"
SOURCES = "".join(
    (files("mirepoix.metrics") / name).read_text("utf-8") for name in ("families.py", "celery_exporter.py")
)
NAME = re.compile(r"\bmirepoix_[a-z_]+")

FIRES = {
    "MirepoixNoWorkers": ['mirepoix_workers{state="alive"}|0x20'],
    "MirepoixQueueWithoutConsumer": [
        'mirepoix_queue_tasks{queue="q",state="waiting"}|5x20',
        'mirepoix_queue_served{queue="q"}|0x20',
    ],
    "MirepoixTasksStranded": ["mirepoix_stranded_tasks|1x20"],
    "MirepoixQueueLate": [
        'mirepoix_queue_oldest_seconds{queue="q"}|31x20',
        'mirepoix_queue_objective_seconds{queue="q"}|30x20',
    ],
    "MirepoixQueueOld": ['mirepoix_queue_oldest_seconds{queue="q"}|301x20'],
    "MirepoixWorkersStuck": ['mirepoix_workers{state="stuck"}|1x20'],
    "MirepoixTasksKill": ["mirepoix_recoveries_total|0+1x20"],
    "MirepoixTaskFails": [
        'mirepoix_attempts_total{task="t",queue="q",outcome="failed"}|0+30x20',
        'mirepoix_attempts_total{task="t",queue="q",outcome="succeeded"}|0+30x20',
    ],
    "MirepoixCauseIsBack": ['mirepoix_failure_groups{status="regressed"}|1x20'],
    "MirepoixTasksQuarantined": ['mirepoix_kept_tasks{task="t",state="quarantined"}|1x20'],
    "MirepoixTasksParked": ['mirepoix_kept_tasks{task="t",state="parked"}|1x20'],
    "MirepoixProbeDoesNotRun": ['mirepoix_probe_pending_seconds{queue="q"}|301x20'],
    "MirepoixScheduleLate": ['mirepoix_schedule_overdue_seconds{schedule="s"}|61x20'],
    "MirepoixScheduleMissed": ['mirepoix_schedule_missed_last_hour{schedule="s"}|1x20'],
    "MirepoixRelayDown": ["mirepoix_relay_up|0x20"],
    "MirepoixRelayLate": ["mirepoix_relay_lag_seconds|61x20"],
    "MirepoixMetricsMissing": [],
}
"""For each alert the series that make it fire within 20 minutes."""

GOOD = [
    'mirepoix_workers{state="alive"}|2x20',
    'mirepoix_workers{state="stuck"}|0x20',
    "mirepoix_scrape_seconds|0.1x20",
    'mirepoix_queue_tasks{queue="q",state="waiting"}|5x20',
    'mirepoix_queue_served{queue="q"}|1x20',
    'mirepoix_queue_oldest_seconds{queue="q"}|29x20',
    'mirepoix_queue_objective_seconds{queue="q"}|30x20',
    "mirepoix_stranded_tasks|0x20",
    "mirepoix_recoveries_total|7x20",
    'mirepoix_attempts_total{task="t",queue="q",outcome="failed"}|0+1x20',
    'mirepoix_attempts_total{task="t",queue="q",outcome="succeeded"}|0+30x20',
    'mirepoix_failure_groups{status="open"}|3x20',
    'mirepoix_kept_tasks{task="t",state="failed"}|3x20',
    "mirepoix_relay_up|1x20",
    'mirepoix_probe_pending_seconds{queue="q"}|0x20',
    'mirepoix_schedule_overdue_seconds{schedule="s"}|1x20',
    'mirepoix_schedule_missed_last_hour{schedule="s"}|0x20',
    "mirepoix_relay_lag_seconds|1x20",
]


def promtool(*words: str) -> str:
    """Run it; skip without it, or fail in CI."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool is not installed. Run: sudo apt-get install prometheus")
    ran = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))


def test_prometheus_accepts_the_rules():
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_each_alert_has_a_test():
    assert set(alerts()) == set(FIRES)


def test_each_alert_fires_and_none_fires_for_a_healthy_ledger(tmp_path: Path):
    def group(name: str, series: list[str], expected: dict[str, bool]) -> dict[str, object]:
        return {
            "name": name,
            "interval": "1m",
            "input_series": [dict(zip(("series", "values"), one.split("|"), strict=True)) for one in series],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)',
                    "eval_time": "19m",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
                for alert, fires in expected.items()
            ],
        }

    tests = [group(alert, series, {alert: True}) for alert, series in FIRES.items()]
    tests.append(group("healthy", GOOD, dict.fromkeys(FIRES, False)))
    (tmp_path / "rules.yml").write_text(RULES.read_text("utf-8"))
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "test.yml"))


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_each_metric_that_they_name_is_exported(file):
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(file.read_text("utf-8"))}
    assert used - set(NAME.findall(SOURCES)) == set()


def test_grafana_can_read_the_dashboard():
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert all(target["expr"] for target in panel["targets"])


def test_prometheus_can_parse_each_query_of_the_dashboard(tmp_path: Path):
    queries = {
        target["expr"].replace("$__rate_interval", "5m").replace("$queue", ".*")
        for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]
        for target in panel["targets"]
    }
    rules = [{"record": f"q:{number}", "expr": query} for number, query in enumerate(sorted(queries))]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(path))
