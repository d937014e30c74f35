"""Run Celery's integration suite: ``python -m conformance [--table] [pytest arguments]``; see `scripts/conformance`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pytest

from conformance.servers import ledger, redis_server
from conformance.suite import CACHE, lay_out
from conformance.table import read, table

ROOT = Path(__file__).parent.parent
BAD = ("failed", "error")
SIDES = {"mirepoix": "Mirepoix", "broker": "Mirepoix, results in Redis", "redis": "Celery on Redis"}


def main(arguments: list[str]) -> int:
    """Run one side, or with ``--table`` both, and return pytest's exit code (the ledger's)."""
    # Whoever ends this process ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "--expected" in arguments:
        arguments = [word for word in arguments if word != "--expected"]
        os.environ["CONFORMANCE_EXPECTED"] = "1"
    if arguments[:1] == ["--table"]:
        return compare(arguments[1:])
    if arguments[:1] == ["--parts"]:
        count, arguments = int(arguments[1]), arguments[2:]
        later = None
        if arguments[:1] == ["--later"]:
            later, arguments = Path(arguments[1]), arguments[2:]
        return run_parts(count, later, arguments)
    return run(_side(), arguments)


def run_parts(count: int, later: Path | None, arguments: list[str]) -> int:
    """Run every *count*-th test in each of *count* processes with servers of their own, as the suite mostly waits.

    Their output is printed when all have ended, one after the other. The names of the tests that failed are written to
    *later*, for a run without anything beside it: some tests give what they wait for a second or less. Then only other
    errors make the exit code. Else it is the highest of the parts.
    """
    if later is not None:
        later.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="mirepoix-conformance-") as folder:
        said = [Path(folder) / f"{number}.txt" for number in range(count)]
        records = [path.with_suffix(".json") for path in said]
        processes = []
        try:
            for number, (path, record) in enumerate(zip(said, records, strict=True)):
                own = {"CONFORMANCE_PART": f"{number}/{count}", "CONFORMANCE_RECORD": str(record)}
                environment = os.environ | own
                with path.open("w") as output:
                    command = [sys.executable, "-m", "conformance", *arguments]
                    processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            codes = [process.wait() for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.terminate()
                    process.wait(timeout=60)
            for number, path in enumerate(said):
                print(f"==== part {number + 1} of {count}", path.read_text(), sep="\n", flush=True)
        code = max([code for code in codes if code != pytest.ExitCode.NO_TESTS_COLLECTED], default=max(codes))
        failed = [test for record in records for test, outcome in read(record).items() if outcome in BAD]
        if later is not None and failed and code == pytest.ExitCode.TESTS_FAILED:
            print("==== later, alone", *failed, sep="\n", flush=True)
            later.write_text("\n".join(failed) + "\n")
            code = pytest.ExitCode.OK
    return code


def compare(arguments: list[str]) -> int:
    """Run both sides, their output on standard error, then print the table in Markdown."""
    CACHE.mkdir(parents=True, exist_ok=True)
    records = {side: CACHE / f"{side}.json" for side in ("redis", _side("mirepoix"))}
    codes = [run(side, arguments, record=path, output=sys.stderr) for side, path in records.items()]
    print(table({SIDES[side]: read(path) for side, path in records.items()}))
    return codes[-1]


def run(side: str, arguments: list[str], *, record: Path | None = None, output: TextIO | None = None) -> int:
    """Run the suite on that side and return pytest's exit code; its outcomes as JSON go to *record*."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mirepoix-conformance-")))
        lay_out(folder, os.environ.get("CELERY_SOURCE"))
        port = stack.enter_context(redis_server())
        plugins = ["pytest_timeout", "pytest_rerunfailures", "celery.contrib.pytest", "conformance.record"]
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # the suite runs `celery`
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # Database 0 is where the tests keep notes of their own, and where they look for results.
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(port),
            "TEST_BROKER": f"redis://127.0.0.1:{port}/1",
            "TEST_BACKEND": f"redis://127.0.0.1:{port}/0",
            "WORKER_LOGLEVEL": "INFO",  # some tests read the worker's log
            "CONFORMANCE": side,
        }
        if record is not None:
            environment["CONFORMANCE_RECORD"] = str(record)
        if side != "redis":
            environment["LEDGER"] = stack.enter_context(ledger(os.environ.get("LEDGER")))
            plugins.append("conformance.plugin")
        options = ["-p", "no:cacheprovider", "-o", "timeout=300", "-ra"]
        options += [word for plugin in plugins for word in ("-p", plugin)]
        options += [] if _names_a_path(folder, arguments) else ["t/integration"]
        return _call([sys.executable, "-m", "pytest", *options, *arguments], folder, environment, output)


def _call(command: list[str], folder: Path, environment: dict[str, str], output: TextIO | None) -> int:
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # pytest was told too, and sums up
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def _names_a_path(folder: Path, arguments: list[str]) -> bool:
    return any((folder / word.partition("::")[0]).exists() for word in arguments if not word.startswith("-"))


def _side(default: str = "mirepoix") -> str:
    side = os.environ.get("CONFORMANCE") or default
    if side not in SIDES:
        raise SystemExit(f"CONFORMANCE={side}: one of {', '.join(SIDES)}.")
    return side


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
