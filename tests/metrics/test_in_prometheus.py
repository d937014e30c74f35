"""A real Prometheus collects a ledger's metrics: each panel of the dashboard has data, and each alert rule works."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from scraped import served
from workers import Shop, until

from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.metrics import Exporter
from missing import missing
from servers import _free_port

pytestmark = pytest.mark.slow

FOLDER = files("mirepoix.metrics")


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **params: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(params)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def has(self, query: str) -> bool:
        return bool(self.ask("query", query=query)["result"])

    def is_ready(self) -> bool:
        try:
            return self.has("up == 1")
        except OSError:
            return False


@pytest.fixture
def exported(shop: Shop) -> Iterator[int]:
    """The port of the shop's metrics."""
    with served(Exporter(source_for(shop.url), Settings(queue_objectives_s={"*": 60}))) as port:
        yield port


@pytest.fixture
def prometheus(exported: int, tmp_path: Path) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        missing("Prometheus is not installed. Run: sudo apt-get install prometheus")
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text("utf-8"))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "mirepoix", "static_configs": [{"targets": [f"127.0.0.1:{exported}"]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{_free_port()}"
    command = [
        program,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    yield Prometheus(f"http://{address}")
    process.terminate()
    process.wait()


def panels() -> dict[str, list[str]]:
    """The queries by the panel's title, with what Grafana would put into them."""
    return {
        panel["title"]: [
            target["expr"].replace("$__rate_interval", "20s").replace("$queue", ".*") for target in panel["targets"]
        ]
        for panel in json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    }


def test_each_panel_has_data_and_each_rule_is_evaluated(shop: Shop, prometheus: Prometheus) -> None:
    shop.worker("w1", queue_probe_interval_s=0.2)
    shop.ledger.send("unpublished", sent_fence=-1, queue="nowhere")
    until(prometheus.is_ready, "Prometheus has collected once")
    empty = {query: title for title, queries in panels().items() for query in queries}

    def have_data() -> bool:
        shop.send("note")
        shop.send("fail")
        for query in [query for query in empty if prometheus.has(query)]:
            del empty[query]
        return not empty

    try:
        until(have_data, "each panel has data")
    finally:
        assert empty == {}

    def health() -> set[str]:
        return {rule["health"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}

    until(lambda: "unknown" not in health(), "each rule was evaluated")
    assert health() == {"ok"}
