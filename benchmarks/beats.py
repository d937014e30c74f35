"""The same schedules in beat, redbeat, django-celery-beat and the ledger, with a kill: ``python -m benchmarks.beats``.

Each system fires the same crontabs, one run a minute each, and all systems work at the same time. A run writes a line
with its time. So each minute of each schedule has one line if it was fired once.

Two beats fire in each system, or two workers of the ledger, and in a second set-up a single beat. One is killed with
SIGKILL in the middle of the run, and started again some minutes later. Of two redbeats it is the one with the lock.
The settings of all schedulers are the defaults.

redbeat and django-celery-beat are installed from the package index into a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.machine import load, print_header
from benchmarks.servers import Server, servers

PACKAGES = (
    "celery-redbeat==2.4.2",
    "django-celery-beat==2.9.0",
    "tenacity",
    "python-dateutil",
    "six",
    "django-timezone-field",
    "python-crontab",
    "cron-descriptor",
)

APP = """
import os, time
from celery import Celery
from celery.schedules import crontab

app = Celery("beats", broker=os.environ["BROKER"] or None)
app.conf.update(timezone="UTC", task_ignore_result=True, broker_connection_retry_on_startup=True)
app.conf.beat_schedule = {
    f"s{n}": {"task": "tick", "schedule": crontab(), "args": [f"s{n}"]} for n in range(int(os.environ["SCHEDULES"]))
}
file = os.open(os.environ["FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@app.task(name="tick")
def tick(name):
    os.write(file, f"{name} {time.time()}\\n".encode())

if os.environ["SCHEDULER"] == "django":
    import django
    from django.conf import settings
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django_celery_beat"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
        USE_TZ=True, TIME_ZONE="UTC", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()
elif os.environ["SCHEDULER"] == "redbeat":
    app.conf.redbeat_redis_url = os.environ["BROKER"]
elif os.environ["SCHEDULER"] in ("ledger", "ledger-beat"):
    import mirepoix
    mirepoix.install(app, os.environ["LEDGER"], schedules=True)
"""

SCHEDULERS = {
    "stock": ("-S", "celery.beat:PersistentScheduler"),
    "django": ("-S", "django_celery_beat.schedulers:DatabaseScheduler"),
    "redbeat": ("-S", "redbeat.RedBeatScheduler"),
    "ledger-beat": ("-S", "mirepoix.schedulers:LedgerScheduler"),
}


@dataclass
class System:
    """What fires, how many there are, and what it needs. ``ledger``: the workers fire, and there is no beat."""

    label: str
    scheduler: str
    number: int
    broker: str = ""
    ledger: str = ""
    folder: Path = Path()
    firing: list[subprocess.Popen] = field(default_factory=list)
    others: list[subprocess.Popen] = field(default_factory=list)

    def environment(self, packages: Path, schedules: int) -> dict[str, str]:
        return {
            **os.environ,
            "BROKER": self.broker,
            "LEDGER": self.ledger,
            "SCHEDULER": self.scheduler,
            "SCHEDULES": str(schedules),
            "FILE": str(self.folder / "runs"),
            "DATABASE": str(self.folder / "django.db"),
            "PYTHONPATH": f"{self.folder}:{packages}",
        }

    def fire(self, number: int, env: dict[str, str]) -> subprocess.Popen:
        """Start what fires."""
        if self.scheduler == "ledger":
            return self.worker(number, env)
        own = ["-s", str(self.folder / f"schedule{number}")] if self.scheduler == "stock" else []
        return self._celery(env, f"beat{number}", "beat", *SCHEDULERS[self.scheduler], *own, "--pidfile=")

    def worker(self, number: int, env: dict[str, str]) -> subprocess.Popen:
        quietly = ("--without-mingle", "--without-gossip")
        return self._celery(env, f"w{number}", "worker", "-P", "solo", "-n", f"w{number}@{self.folder.name}", *quietly)

    def _celery(self, env: dict[str, str], name: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "celery", "-A", "beats_app", *words, "-l", "info"]
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def leader(self) -> int:
        """Which of those that fire is killed: the one with redbeat's lock. Elsewhere both do the same."""
        logs = ((self.folder / f"beat{number}.log") for number in range(self.number))
        has_lock = ["Acquired lock" in log.read_text() for log in logs if log.exists()]
        return has_lock.index(True) if True in has_lock else 0

    def minutes(self) -> Counter[tuple[str, int]]:
        """How often each schedule ran in each minute."""
        lines = (self.folder / "runs").read_text().split("\n")[:-1]
        return Counter((name, int(float(at) // 60)) for name, at in map(str.split, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=10)
    parser.add_argument("--minutes", nargs=3, type=int, default=[4, 4, 2], help="before the kill, after it, and again")
    given = parser.parse_args()
    with servers("redis", "postgresql") as (redis, postgresql), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = folder / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
        subprocess.run([*pip, *PACKAGES], check=True)
        minutes = ", then ".join(map(str, given.minutes))
        what = f"{given.schedules} crontabs of a minute, {minutes} minutes; {', '.join(PACKAGES[:2])}"
        print_header("Schedules with a kill", [redis, postgresql], what)
        postgresql.reset()
        systems = systems_of(redis, postgresql)
        compare(systems, folder, packages, given)
    print(f"load after: {load()}")


def systems_of(redis: Server, postgresql: Server) -> list[System]:
    """All that is compared, each with a database of its own in the servers."""
    beats = [("celery beat", "stock"), ("redbeat", "redbeat"), ("django-celery-beat", "django")]
    found = [System(f"{label} x{number}", kind, number) for label, kind in beats for number in (1, 2)]
    systems = [replace(one, broker=f"{redis.url.rpartition('/')[0]}/{place}") for place, one in enumerate(found)]
    another = postgresql.another("beats")
    another.reset()
    systems.append(System("the ledger, 2 workers and no beat", "ledger", 2, ledger=postgresql.url))
    systems.append(System("the ledger, celery beat x2 with LedgerScheduler", "ledger-beat", 2, ledger=another.url))
    return systems


def compare(systems: list[System], folder: Path, packages: Path, given: argparse.Namespace) -> None:
    """Run all systems, kill what fires first, start it again, and print what became of each minute."""
    with ExitStack() as stack:
        stack.callback(lambda: [end(process) for one in systems for process in (*one.firing, *one.others)])
        environments = []
        for place, one in enumerate(systems):
            one.folder = folder / f"system{place}"
            one.folder.mkdir()
            (one.folder / "beats_app.py").write_text(APP)
            (one.folder / "runs").touch()
            env = one.environment(packages, given.schedules)
            environments.append(env)
            if one.scheduler == "django":
                migrate = (
                    "import beats_app; from django.core.management import call_command as c; c('migrate', verbosity=0)"
                )
                subprocess.run([sys.executable, "-c", migrate], env=env, cwd=one.folder, check=True)
            if one.scheduler != "ledger":
                one.others.append(one.worker(9, env))
            one.firing = [one.fire(number, env) for number in range(one.number)]
        time.sleep(20)
        first = minute_after(1)
        before, after, again = given.minutes
        wait_until(60 * (first + before) + 30)
        killed = [one.leader() for one in systems]
        for one, number in zip(systems, killed, strict=True):
            end(one.firing[number])
        wait_until(60 * (first + before + after) + 30)
        for one, number, env in zip(systems, killed, environments, strict=True):
            one.firing[number] = one.fire(number, env)
        last = first + before + after + again
        wait_until(60 * (last + 1) + 5)
        names = [f"s{number}" for number in range(given.schedules)]
        for one in systems:
            if any(process.poll() is not None for process in (*one.firing, *one.others)):
                print(
                    f"  {one.label}: a process has ended",
                    *(log.read_text()[-2000:] for log in one.folder.glob("*.log")),
                )
            print(f"  {one.label:48} {words(one.minutes(), names, range(first, last + 1))}", flush=True)


def words(minutes: Counter[tuple[str, int]], names: list[str], span: range) -> str:
    found = Counter(min(minutes[name, minute], 2) for name in names for minute in span)
    return f"of {len(names) * len(span)} fire times: once {found[1]}, more than once {found[2]}, not at all {found[0]}"


def minute_after(more: int) -> int:
    """The number of the minute that is so many after this one."""
    return int(time.time() // 60) + more


def wait_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


if __name__ == "__main__":
    main()
