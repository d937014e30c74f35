"""Run what we take from inside Celery, and a smoke test, in each environment; print a line for each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from compatibility.environments import ENVIRONMENTS, FOLDER, ROOT, Environment, Lacking, is_ci

TESTS = ("tests/celery/test_private.py", "compatibility/test_smoke.py")
VERSIONS = (
    "import platform, celery, kombu; print('Python', platform.python_version(), "
    "'Celery', celery.__version__, 'kombu', kombu.__version__)"
)
LAST = 60
"""So many lines of a log are shown of a failure."""


def main() -> int:
    """Return 1 if a test failed, or if CI lacks what is promised."""
    wanted = [one for one in ENVIRONMENTS if not sys.argv[1:] or any(word in one.name for word in sys.argv[1:])]
    with ThreadPoolExecutor(int(os.environ.get("PROCESSES", "2"))) as executor:
        failures = [*executor.map(_run, wanted)]
    for told in filter(None, failures):
        _say(f"\n{told}")
    return 1 if any(told is not None for told in failures) or not wanted else 0


def _run(environment: Environment) -> str | None:
    """Run the tests and print the line; return what to show of a failure, or None if there is none."""
    begin = time.monotonic()
    try:
        python = environment.made()
    except Lacking as lacking:
        is_failure = lacking.is_promised and is_ci()
        _say(f"{environment.label}: {'failed' if is_failure else 'skipped'}: {lacking}")
        return "" if is_failure else None
    made_s = time.monotonic() - begin
    versions = _output([str(python), "-c", VERSIONS]).strip()
    log = FOLDER / f"{environment.name}.log"
    with log.open("w") as file:
        done = subprocess.run(
            [str(python), "-m", "pytest", "--noconftest", "-p", "no:cacheprovider", "--timeout", "120", *TESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},  # its conftest.py needs what these tests do not
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = log.read_text("utf-8", errors="replace")
    counted = re.findall(r"^=+ (.*) in [\d.]+s", said, re.MULTILINE)
    result = "passed" if done.returncode == 0 else "FAILED"
    took = f"{time.monotonic() - begin:.0f} s, {made_s:.0f} s of them to make it"
    _say(f"{versions}: {result}: {counted[-1] if counted else 'no test ended'} ({took})")
    if done.returncode == 0:
        return None
    return "\n".join([*said.splitlines()[-LAST:], f"All of it is in {log.relative_to(ROOT)}."])


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
