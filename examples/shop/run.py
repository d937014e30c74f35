"""Run the whole shop on this machine: the payment provider, a worker and the website. Ctrl-C ends it.

``python run.py --orders 30`` places orders instead, kills the worker's processes while it works, audits, and ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from provider import Provider

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Set everything up, then run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="the website's port (default 8000)")
    parser.add_argument("--orders", type=int, metavar="N", help="place so many orders, audit, and end")
    given = parser.parse_args()
    with ExitStack() as stack:
        provider = stack.enter_context(_serving(Provider()))
        environment = os.environ | {"SHOP_PROVIDER": provider.url, "DJANGO_SETTINGS_MODULE": "website.settings"}
        data = Path(environment.setdefault("SHOP_DATA", str(HERE / "data")))
        data.mkdir(parents=True, exist_ok=True)
        _manage(environment, "migrate", "--verbosity", "0")
        _manage(environment, "stock")
        worker = [
            sys.executable,
            "-m",
            "celery",
            "--quiet",
            "-A",
            "website",
            "worker",
            "--concurrency",
            "2",
            "--loglevel",
            "warning",
        ]
        running = stack.enter_context(_running(worker, environment))
        if given.orders is not None:
            _manage(environment, "place", str(given.orders))
            # The worker dies, with whatever it is doing; another takes up what it held.
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            stack.enter_context(_running(worker, environment))
            return _manage(environment, "audit", is_checked=False)
        print(
            f"\nThe shop: http://127.0.0.1:{given.port}/   its admin: http://127.0.0.1:{given.port}/admin/", flush=True
        )
        website = ["runserver", "--noreload", f"127.0.0.1:{given.port}"]
        try:
            return _manage(environment, *website, is_checked=False)
        except KeyboardInterrupt:
            return 0


def _manage(environment: dict[str, str], *words: str, is_checked: bool = True) -> int:
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=HERE, env=environment, check=is_checked).returncode


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=HERE, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _serving(server: Provider) -> Iterator[Provider]:
    import threading

    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
