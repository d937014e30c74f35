"""The lines of the kits start real workers. Stopping them as their supervisor does loses nothing and blames nobody."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import kits
import pytest
import requests
from hosting import Host
from workers import Process, until

pytestmark = pytest.mark.slow
ON_SQLITE = pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
"""What a supervisor does to a worker is tested on each database in tests/e2e. Here its lines are."""


def settings(host: Host, **more: str) -> Path:
    """The file with the environment of the unit, as the kit has it, with the test's own ledger."""
    folder = host.shop.folder
    text = (kits.SYSTEMD / "worker.env").read_text()
    own = {"SHOP_LEDGER": host.shop.url, "CONCURRENCY": "1", **more}
    assert set(own) <= {line.partition("=")[0] for line in text.splitlines()}
    (folder / "worker.env").write_text(text + "".join(f"{name}='{value}'\n" for name, value in own.items()))
    return folder / "worker.env"


def line_of(service: dict[str, list[str]], name: str) -> list[str]:
    """The command of a unit's line, in a shell that has read its environment and is replaced by it."""
    sourced = "".join(f". {file}; " for file in service["EnvironmentFile"] if not file.startswith("-"))
    assigned = "".join(f"{one}; " for one in service.get("Environment", []))
    return ["bash", "-c", f"set -a; {sourced}{assigned}set +a; exec {service[name][0]}"]


def stopped_by(service: dict[str, list[str]], worker: Process) -> None:
    """What systemd does first: with KillMode=mixed the signal goes to the main process only."""
    assert service["KillMode"] == ["mixed"]
    assert "KillSignal" not in service
    worker.send(signal.SIGTERM)


@ON_POSTGRESQL
def test_a_unit_of_systemd_migrates_works_and_hands_back_when_it_is_stopped(host: Host) -> None:
    settings(host)
    service = kits.unit(kits.WORKER, host.shop.folder)
    (host.shop.folder / service["RuntimeDirectory"][0].removeprefix("shop/")).mkdir(0o755)
    assert host.runs(line_of(service, "ExecStartPre")) == 0
    worker = host.starts("web", line_of(service, "ExecStart")).says(" ready.")
    assert f"web@{socket.gethostname()}" in worker.said
    assert host.runs(["mirepoix", "health", "--live"], MIREPOIX_PROBES=str(host.shop.folder / "web")) == 0
    running, waiting = host.is_busy(worker)
    stopped_by(service, worker)
    host.shop.wait(waiting, "pending")
    assert worker.is_running

    # Another instance of the template runs what was handed back, and the first one ends its task.
    other = kits.unit(kits.WORKER, host.shop.folder, "mail")
    host.starts("mail", line_of(other, "ExecStart"))
    host.shop.wait(waiting, "succeeded")
    host.shop.make("open")
    assert worker.ends().exit_code == 0
    assert host.shop.state(running) == "succeeded"
    assert [host.shop.runs(id) for id in (running, *waiting)] == [1] * 4


@ON_POSTGRESQL
def test_when_the_grace_period_of_systemd_ends_another_worker_runs_the_task_and_nobody_is_blamed(host: Host) -> None:
    settings(host)
    service = kits.unit(kits.WORKER, host.shop.folder)
    assert host.runs(line_of(service, "ExecStartPre")) == 0
    worker = host.starts("web", line_of(service, "ExecStart")).says(" ready.")
    running, waiting = host.is_busy(worker)
    stopped_by(service, worker)
    host.shop.wait(waiting, "pending")
    stopping = "SELECT count(*) FROM mirepoix_worker WHERE stopping_at IS NOT NULL"
    until(lambda: host.shop.ledger.query(stopping) == [(1,)], "the ledger knows that it is to stop")
    os.killpg(worker.pid, signal.SIGKILL)  # KillMode=mixed: the last signal goes to all processes
    host.starts("web-again", line_of(service, "ExecStart"))
    host.shop.begun(running, 2)
    host.shop.make("open")
    host.shop.wait([running, *waiting], "succeeded")
    assert host.shop.row(running)["deaths"] == 0
    assert host.shop.effects(what="overlap") == []


@ON_POSTGRESQL
def test_the_lines_of_a_procfile_release_work_and_survive_a_signal_to_all(host: Host) -> None:
    """Heroku runs each line in a shell, and sends SIGTERM to every process of a dyno."""
    lines = kits.procfile()
    dyno = {"DYNO": "worker.1", "CONCURRENCY": "1"}
    assert host.runs(["bash", "-c", lines["release"]]) == 0
    worker = host.starts("worker", ["bash", "-c", lines["worker"]], **dyno).says(" ready.")
    assert "worker@worker.1" in worker.said
    running, waiting = host.is_busy(worker)
    os.killpg(worker.pid, signal.SIGTERM)
    worker.ends()
    host.starts("next", ["bash", "-c", lines["worker"]], **dyno | {"DYNO": "worker.2"})
    host.shop.begun(running, 2)
    host.shop.make("open")
    host.shop.wait([running, *waiting], "succeeded")
    assert host.shop.ledger.query("SELECT DISTINCT deaths FROM mirepoix_task") == [(0,)]
    assert host.shop.effects(what="overlap") == []


@ON_SQLITE
def test_the_lines_that_serve_the_metrics_serve_them(host: Host) -> None:
    lines = kits.procfile()
    assert host.runs(["bash", "-c", lines["release"]]) == 0
    settings(host)
    unit = line_of(kits.unit(kits.METRICS, host.shop.folder), "ExecStart")
    ports = [free_port(), free_port()]
    started = [
        host.starts("web", ["bash", "-c", lines["web"]], PORT=ports[0], MIREPOIX_METRICS_TOKEN="s3cret"),
        host.starts("unit", [word.replace(":9540", f":{ports[1]}") for word in unit]),
    ]
    urls = [f"http://127.0.0.1:{port}/metrics" for port in ports]
    for process, port in zip(started, ports, strict=True):
        process.says(f":{port}/metrics")
    assert requests.get(urls[0], timeout=30).status_code == 401
    token = {"Authorization": "Bearer s3cret"}
    assert all("mirepoix_workers" in requests.get(url, headers=token, timeout=30).text for url in urls)
    assert [process.stop().exit_code for process in started] == [0, 0]


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@ON_POSTGRESQL
def test_the_probes_of_kubernetes_answer_before_during_and_after_a_worker(host: Host) -> None:
    container = kits.container("Deployment/shop-worker-default")
    live, ready, started = (
        container[f"{name}Probe"]["exec"]["command"] for name in ("liveness", "readiness", "startup")
    )
    env = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert (host.runs(live, **env), host.runs(ready, **env), host.runs(started, **env)) == (3, 3, 3)
    migrate = kits.container("Job/shop-migrate")
    assert host.runs(migrate["args"], **env) == 0

    args = kits.command(container, POD_NAME="shop-worker-default-1")
    worker = host.starts("worker", args, **env).says(" ready.")
    assert "default@shop-worker-default-1" in worker.said
    assert (host.runs(live, **env), host.runs(ready, **env), host.runs(started, **env)) == (0, 0, 0)
    worker.remove()
    assert host.runs(live, **env) == 1


@ON_SQLITE
def test_the_command_and_the_health_check_of_the_image_work(host: Host) -> None:
    env = {"MIREPOIX_APP": "shop"}
    check = kits.instruction("HEALTHCHECK")
    assert host.runs(["mirepoix", "migrate"], **env) == 0
    assert host.runs(check, **env) == 3
    worker = host.starts("worker", kits.instruction("CMD"), **env).says(" ready.")
    assert host.runs(check, **env) == 0
    worker.stop()
    assert host.runs(check, **env) == 3
