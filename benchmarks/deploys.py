"""Deploy incompatible changes of tasks and see what becomes of what was sent: ``python -m benchmarks.deploys``.

*rolling*: workers of the old release are replaced one by one while processes of both releases send. *skew*: a release
that cannot take what waits eats it first; then it is rolled back, or one with upcasters is deployed.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.app import make_app
from benchmarks.machine import load, print_header, spread
from benchmarks.releases import BAD, NEW, OLD, register, send
from benchmarks.rolling import Audit, Scene, roll
from benchmarks.servers import Server, servers

SYSTEMS = ("sqlite", "postgresql", "mariadb", "postgresql-rabbitmq", "postgresql-redis", "rabbitmq", "redis")
"""The last two are stock Celery."""

WAITING = ("renamed", "added", "removed")
EACH = 20


def skew(server: Server, fate: int) -> tuple[Audit, int, float]:
    """20 calls of each kind wait, release 2 eats them, then release *fate* comes.

    The audit, how many were parked at the worst, and the seconds from when that release's worker was ready to the last
    end.
    """
    server.reset()
    scene = Scene(server)
    try:
        app = make_app(server.url, broker_url=server.broker and server.broker.url)
        register(app, OLD)
        sent = {}
        for number in range(EACH):
            for kind in WAITING:
                for id, part in send(app, OLD, kind, number):
                    sent[id] = {"id": id, "kind": part, "number": number, "release": OLD}
        app.close()
        (bad,) = scene.hire(BAD)
        parked = 0
        if server.is_ledger:
            scene.until(lambda: scene.states().get("parked", 0) == len(sent), 20.0)
            parked = scene.states().get("parked", 0)
        else:
            scene.until(lambda: not waiting(server), 20.0)
            time.sleep(1.0)  # what it has fetched, it has run by then
        began = time.time()
        scene.hire(fate)
        ready_at = time.time()
        scene.dismiss(bad)
        scene.until_it_rests(sent, 15.0)
        last = max((line["at"] for line in scene.lines("end")), default=began)
        return scene.audit(sent, began), parked, max(0.0, last - ready_at)
    finally:
        scene.close()


def waiting(server: Server) -> int:
    """How many messages wait in a broker."""
    import kombu

    with kombu.Connection(server.url) as connection:
        try:
            return connection.default_channel.queue_declare("celery", passive=True).message_count
        except connection.channel_errors:  # in Redis an empty queue does not exist
            return 0


def print_rolling(server: Server, found: Audit, seconds: float) -> None:
    sent = ", ".join(f"{count} by {_RELEASES[release]} senders" for release, count in sorted(found.sent.items()))
    print(
        f"  {server.label}: {found.tasks} tasks in {seconds:.0f} s ({sent}): lost {len(found.lost)}, run twice "
        f"{len(found.twice)}, run wrongly {len(found.wrong)}: {'CLEAN' if found.is_clean else 'NOT CLEAN'}"
    )
    for (sender, runner), count in sorted(found.ran.items()):
        print(f"    sent by {_RELEASES[sender]} code, run by {_RELEASES[runner]}: {count}")
    if server.is_ledger:
        states = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items()))
        tries = ", ".join(f"{count} with {tries}" for tries, count in sorted(found.attempts.items()))
        print(f"    in the ledger: {states}; attempts: {tries}")
        print(f"    parked meanwhile {found.parked}")
        print(f"    waited, parked before the first new worker: {spread(found.waits_before, 's', 1.0)}")
        print(f"    waited, parked after that:                  {spread(found.waits, 's', 1.0)}")
        for reason, count in failures(server):
            print(f"    {count} x {reason}")
    print(flush=True, end="")


def failures(server: Server) -> list[tuple[str, int]]:
    """Why tasks are left in another state than succeeded."""
    return server.execute(
        "SELECT CONCAT(name, ': ', coalesce(reason, state)) AS why, count(*) FROM mirepoix_task "
        "WHERE state <> 'succeeded' GROUP BY why ORDER BY why"
        if server.kind != "sqlite"
        else "SELECT name || ': ' || coalesce(reason, state) AS why, count(*) FROM mirepoix_task "
        "WHERE state <> 'succeeded' GROUP BY why ORDER BY why",
        rows=True,
    )


_RELEASES = {OLD: "old", BAD: "bad", NEW: "new"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--parts", nargs="+", choices=("rolling", "skew"), default=["rolling", "skew"])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the rolling deploy takes")
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second, of both releases together")
    parser.add_argument("--workers", type=int, default=3)
    given = parser.parse_args()
    with servers(*given.systems) as systems:
        print_header(
            "Deploys of incompatible changes",
            systems,
            f"{given.workers} workers, prefork -c 2; {given.rate:g} calls a second; tasks of 10 ms",
        )
        if "rolling" in given.parts:
            print("rolling deploy under load")
            for server in systems:
                server.reset()
                print_rolling(server, roll(server, given.seconds, given.rate, given.workers), given.seconds)
        if "skew" in given.parts:
            print_skew(systems)
        print(f"load after: {load()}")


def print_skew(systems: list[Server]) -> None:
    print(f"\n{EACH} waiting of each of: {', '.join(WAITING)}; a release that cannot take them comes, then ...")
    print(f"  {'':34} parked   ... it is rolled back         ... upcasters are deployed")
    for server in systems:
        cells, parked = [], 0
        for fate in (OLD, NEW):
            found, parked, took_s = skew(server, fate)
            right = found.tasks - len({*found.lost, *found.twice, *found.wrong})
            cells.append(f"{right:2} of {found.tasks} ran" + (f", in {took_s:.1f} s" if right else ""))
        told = f"{parked:6}" if server.is_ledger else "     -"
        print(f"  {server.label:34} {told}   {cells[0]:28}  {cells[1]}", flush=True)


if __name__ == "__main__":
    main()
