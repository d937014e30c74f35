"""A shop whose tasks are run by flows of Prefect, in processes of their own."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from workers import Process, Shop

from fork_server import ForkServer
from prefect_server import PrefectServer


class Flowing(Shop):
    """A shop with processes of flows beside the Celery workers."""

    def __init__(self, folder: Path, url: str, prefect: PrefectServer) -> None:
        super().__init__(folder, url)
        self.prefect = prefect
        self._attempts = itertools.count(1)
        shutil.copyfile(Path(__file__).with_name("shop_flows.py"), folder / "shop_flows.py")

    @property
    def keys(self) -> dict[str, str]:
        """Tasks by their keys."""
        return dict(self.ledger.query("SELECT id, task_id FROM mirepoix_key"))

    def python(self, name: str, *command: str, env: dict[str, str] | None = None, is_forked: bool = True) -> Process:
        """A process that knows the server."""
        return self.start(name, *command, env={**self.prefect.env, **(env or {})}, is_forked=is_forked)

    def fork_server(self) -> ForkServer:
        """One that has imported Prefect, for its server."""
        return self.prefect.fork_server()

    def attempt(self, flow: str, run_id: str, env: dict[str, str] | None = None) -> Process:
        """A process that runs a flow run, as Prefect's runner starts one."""
        is_forked = flow != "in_processes"  # they import the file of their parent
        name = f"flow{next(self._attempts)}"
        return self.python(name, "shop_flows.py", flow, run_id, env=env, is_forked=is_forked)

    def run(self, flow: str, run_id: str | None = None, /, **parameters: Any) -> Any:
        """Run a flow to its end; what it returned, or the words of what it raised."""
        process = self.attempt(flow, run_id or self.prefect.create(flow, parameters))
        return outcome(process)

    def again(self, run_id: str) -> None:
        """Let a flow run be run again, as "Retry" in the user interface does."""
        self.prefect.set_state(run_id, "SCHEDULED")


def outcome(process: Process) -> Any:
    """What the flow of a process returned or raised."""
    process.ends()
    (said,) = [line for line in process.said.splitlines() if line.startswith("OUTCOME ")]
    return json.loads(said.removeprefix("OUTCOME "))
