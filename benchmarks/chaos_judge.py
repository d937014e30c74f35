"""Judge what `benchmarks.chaos` did, by what senders, tasks and the killer noted; the ledger is the accused."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos_app import MEMBERS
from benchmarks.chaos_faults import LEASE_TTL_S
from benchmarks.chaos_scene import Scene
from benchmarks.servers import Server

MAX_DEATHS = 3
SILENT_S = LEASE_TTL_S * 2 / 3
"""A heartbeat comes every third of a lease: who falls silent may have a third of it less."""

FINAL = frozenset({"succeeded", "failed", "quarantined", "parked", "cancelled", "expired"})
FAULTS = {
    "lost": "committed, and there is no row, or it succeeded and its code never ended",
    "doubled": "a transactional task's effect is there twice",
    "missing": "it succeeded and its effect, or the child that it sent, is not there; or without the success",
    "rolled back": "its sending was rolled back, and it has a row or ran",
    "chords": "the effect of a body is missing, is there twice, or does not count each member once",
    "overlapping": "an attempt began while another one of the task was under way in a living process (see excused)",
    "unaccounted": "a row that nobody sent, or more attempts than leases",
    "stuck": "not final when all had settled",
    "failed": "failed, cancelled or expired: nothing in the load does",
    "parked": "every worker has the code of every task",
    "ended": "a worker that was not told to, and not killed",
    "quarantined": f"although fewer than {MAX_DEATHS} of its own processes were killed",
}
EXCUSED = {
    "overlapping": f"its worker was frozen or cut off for {SILENT_S:.0f} s and more, so its lease ran out; "
    "promised is that the ledger believes one",
    "quarantined": f"{MAX_DEATHS} or more processes were killed while they ran it, and not by a stop",
}


@dataclass
class Attempt:
    """One attempt, as its own code noted it."""

    pid: int
    parent: int
    began: float
    ended: float | None = None


@dataclass
class Verdict:
    """The ids by what is wrong with them."""

    sent: int
    unknown: int
    rows: Counter
    attempts: int
    deaths: int
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    excused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_clean(self) -> bool:
        return not any(self.wrong.values())


def promised(senders: list[Path], there: Container[str]) -> dict[str, str]:
    """What came of each id that anybody meant to send: committed, rolledback or unknown.

    What is sent together is committed together: it was, if anything of it is *there*.
    """
    said = {}
    for path in senders:
        for line in path.read_text().splitlines():
            kind, ids, *_ = line.split()
            said[ids] = "unknown" if kind == "means" else kind
    for ids, came in said.items():
        if came == "unknown" and any(id in there for id in ids.split(",")):
            said[ids] = "committed"
    return {id: came for ids, came in said.items() for id in ids.split(",")}


def attempts_of(witness: Path) -> dict[str, list[Attempt]]:
    by_attempt: dict[str, tuple[str, Attempt]] = {}
    for line in witness.read_text().splitlines():
        kind, id, pid, parent, attempt, at = line.split()
        if kind == "begin":
            by_attempt[attempt] = id, Attempt(int(pid), int(parent), float(at))
        else:
            by_attempt[attempt][1].ended = float(at)
    found = defaultdict(list)
    for id, attempt in by_attempt.values():
        found[id].append(attempt)
    return found


def unfinished(server: Server, senders: list[Path]) -> int:
    """How many are not final yet, or not there yet."""
    states = dict(server.execute("SELECT id, state FROM mirepoix_task", rows=True))
    missing = sum(id not in states for id, said in promised(senders, states).items() if said == "committed")
    return missing + sum(state not in FINAL for state in states.values())


def judge(scene: Scene, senders: list[Path]) -> Verdict:
    ask = scene.server.execute
    states = dict(ask("SELECT id, state FROM mirepoix_task", rows=True))
    said, attempts = promised(senders, states), attempts_of(scene.witness)
    fences = dict(ask("SELECT id, fence FROM mirepoix_task", rows=True))
    effects = Counter(task for (task,) in ask("SELECT task FROM chaos_effect", rows=True))
    details = dict(ask("SELECT task, detail FROM chaos_effect", rows=True))
    runs = sum(map(len, attempts.values()))
    killed = sum(map(len, scene.deaths.values()))
    found = Verdict(len(said), list(said.values()).count("unknown"), Counter(states.values()), runs, killed)
    wrong = found.wrong

    for id, came in said.items():
        state, ran = states.get(id), attempts.get(id, [])
        if came == "rolledback" and (state or ran):
            wrong["rolled back"].append(id)
        if came == "committed" and not state:
            wrong["lost"].append(id)
        if state == "succeeded" and not any(one.ended for one in ran):
            wrong["lost"].append(id)
        if id.endswith("-body"):
            if came == "committed" and (effects[id] != 1 or details[id] != str(MEMBERS)):
                wrong["chords"].append(id)
        elif id.endswith("-transactional"):
            parts = {bool(effects[id]), f"{id}-child" in states, state == "succeeded"}
            if len(parts) > 1:
                wrong["missing"].append(id)
    wrong["ended"] = list(scene.ended)
    wrong["doubled"] = [id for id, times in effects.items() if times > 1]
    sent = {*said, *(f"{id}-child" for id in said if id.endswith("-transactional"))}
    wrong["unaccounted"] = [
        *(id for id in states if id not in sent),
        *(id for id, ran in attempts.items() if len(ran) > fences.get(id, 0)),
    ]
    for id, state in states.items():
        if state not in FINAL:
            wrong["stuck"].append(id)
        elif state in ("failed", "cancelled", "expired"):
            wrong["failed"].append(f"{id}={state}")
        elif state == "parked":
            wrong["parked"].append(id)
        elif state == "quarantined":
            own = sum(is_killed(scene, attempts[id], place) for place in range(len(attempts.get(id, []))))
            (found.excused if own >= MAX_DEATHS else wrong)["quarantined"].append(f"{id} ({own} killed)")
    for id, ran in attempts.items():
        for earlier, later in overlaps(scene, ran):
            # The second is a zombie that had the task in its hands, and begins when it wakes up.
            is_zombie = was_silent(scene, later, later.began)
            is_excused = is_zombie or was_silent(scene, earlier, later.began)
            words = f"{id} {earlier.pid}@{earlier.began:.2f} {later.pid}@{later.began:.2f}"
            (found.excused if is_excused else wrong)["overlapping"].append(words)
    return found


def overlaps(scene: Scene, ran: list[Attempt]) -> list[tuple[Attempt, Attempt]]:
    """Pairs of attempts of which the second began before the first was over.

    What ended by itself was over then. What did not was over when its process was killed, or was last seen to live.
    """
    ordered = sorted(ran, key=lambda one: one.began)
    found = []
    for place, later in enumerate(ordered):
        for earlier in ordered[:place]:
            killed_at, _ = death(scene, earlier)
            over = earlier.ended or killed_at or scene.seen.get(earlier.pid, 0.0)
            if over > later.began and not (earlier.pid == later.pid and not earlier.ended):
                found.append((earlier, later))
    return found


def death(scene: Scene, attempt: Attempt) -> tuple[float | None, str]:
    """When this program killed the attempt's process, and why. A later process may have had the same number."""
    after = (found for found in scene.deaths.get(attempt.pid, ()) if found[0] >= attempt.began)
    return min(after, default=(None, ""))


def is_killed(scene: Scene, ran: list[Attempt], place: int) -> bool:
    """Whether the process of that attempt was killed before the next one began, and not by a stop.

    Its code may have ended. As long as the database takes no outcome, the ledger has to believe that it runs.
    """
    ordered = sorted(ran, key=lambda attempt: attempt.began)
    at, why = death(scene, ordered[place])
    until = ordered[place + 1].began if place + 1 < len(ordered) else float("inf")
    return why in ("pool", "worker") and at is not None and at <= until


def was_silent(scene: Scene, holder: Attempt, now: float) -> bool:
    """Whether the worker of that attempt had been frozen or cut off for SILENT_S by then.

    Silences that follow each other within 2 s are one: a heartbeat needs that long to get through again. Those of the
    whole database join them and do not count, as no worker shall be declared dead by them.
    """
    hired = [(at, slot.number) for slot in scene.slots for at, pid in slot.hired if pid == holder.parent]
    number = max(((at, number) for at, number in hired if at <= holder.began), default=(0.0, None))[1]
    mine = sorted((began, ended, slot) for slot, began, ended in scene.silences if slot in (number, None))
    until, own_s = float("-inf"), 0.0
    for began, ended, slot in mine:
        if began > until + 2.0:
            own_s = 0.0
        until = max(until, ended)
        own_s += 0.0 if slot is None else max(0.0, min(ended, now) - began)
        if own_s >= SILENT_S and until + 2.0 >= holder.began:
            return True
    return False


KEPT = {
    "mirepoix_task": "id state reason fence retries deaths handovers worker_id pid created_at due_at leased_at "
    "started_at finished_at",
    "mirepoix_attempt": "task_id fence outcome worker_id pid leased_at started_at finished_at error_type error",
    "mirepoix_worker": "id name pid state reason started_at heartbeat_at ended_at",
    "chaos_effect": "task detail",
}


def keep(scene: Scene) -> None:
    """Write the ledger's rows beside the witnesses' notes."""
    for table, columns in KEPT.items():
        rows = scene.server.execute(f"SELECT {', '.join(columns.split())} FROM {table}", rows=True)
        lines = (json.dumps(dict(zip(columns.split(), row, strict=True)), default=str) for row in rows)
        (scene.evidence / f"{table}.jsonl").write_text("\n".join(lines) + "\n")
