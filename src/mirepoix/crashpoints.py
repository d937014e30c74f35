"""The named points at which a test can kill this process. Every commit boundary has one.

The environment arms a point::

    MIREPOIX_CRASHPOINT=finish.before_commit      die (SIGKILL) the first time that the point is reached
    MIREPOIX_CRASHPOINT=take.after_commit:3       die the third time
    MIREPOIX_CRASHPOINT_TOKEN=/path/to/file       die only if this file exists. The process removes the file first,
                                                  so only one of many processes dies, and only once

If no point is armed, `reached` costs one comparison. Tests check that each member is used at exactly one place in the
code and that at least one test exercises it.
"""

from __future__ import annotations

import itertools
import os
import signal
from enum import StrEnum
from pathlib import Path


class Crashpoint(StrEnum):
    """Every commit boundary, named ``<what>.<side of the commit>``."""

    ENQUEUE_BEFORE_COMMIT = "enqueue.before_commit"
    ENQUEUE_AFTER_COMMIT = "enqueue.after_commit"
    ENQUEUE_ONE_BEFORE_COMMIT = "enqueue_one.before_commit"
    ENQUEUE_ONE_AFTER_COMMIT = "enqueue_one.after_commit"
    SUBMIT_BEFORE_COMMIT = "submit.before_commit"
    SUBMIT_AFTER_COMMIT = "submit.after_commit"
    ACTIVITY_BEFORE_COMPLETE = "activity.before_complete"
    ACTIVITY_AFTER_COMPLETE = "activity.after_complete"
    ACTIVITY_AFTER_COMMIT = "activity.after_commit"
    WORKFLOW_BEFORE_SEND = "workflow.before_send"
    WORKFLOW_AFTER_SEND = "workflow.after_send"
    REGISTER_BEFORE_COMMIT = "register.before_commit"
    REGISTER_AFTER_COMMIT = "register.after_commit"
    HEARTBEAT_AFTER_COMMIT = "heartbeat.after_commit"
    TAKE_BEFORE_COMMIT = "take.before_commit"
    TAKE_AFTER_COMMIT = "take.after_commit"
    LIMIT_KEYS_BEFORE_COMMIT = "limit_keys.before_commit"
    LIMIT_KEYS_AFTER_COMMIT = "limit_keys.after_commit"
    LIMITS_BEFORE_COMMIT = "limits.before_commit"
    LIMITS_AFTER_COMMIT = "limits.after_commit"
    HOLD_BEFORE_COMMIT = "hold.before_commit"
    RELEASE_HELD_BEFORE_COMMIT = "release_held.before_commit"
    RELEASE_HELD_AFTER_COMMIT = "release_held.after_commit"
    RESUME_PARKED_BEFORE_COMMIT = "resume_parked.before_commit"
    RESUME_PARKED_AFTER_COMMIT = "resume_parked.after_commit"
    RECEIVE_BEFORE_COMMIT = "receive.before_commit"
    RECEIVE_AFTER_COMMIT = "receive.after_commit"
    RECEIVE_AFTER_ACK = "receive.after_ack"
    PUBLISH_BEFORE_SEND = "publish.before_send"
    PUBLISH_AFTER_CONFIRM = "publish.after_confirm"
    NOTE_SENT_BEFORE_COMMIT = "note_sent.before_commit"
    NOTE_SENT_AFTER_COMMIT = "note_sent.after_commit"
    RESEND_BEFORE_COMMIT = "resend.before_commit"
    RESEND_AFTER_COMMIT = "resend.after_commit"
    START_BEFORE_COMMIT = "start.before_commit"
    START_AFTER_COMMIT = "start.after_commit"
    COMPLETE_BEFORE_COMMIT = "complete.before_commit"
    COMPLETE_AFTER_COMMIT = "complete.after_commit"
    COMPLETE_ALONE_AFTER_COMMIT = "complete_alone.after_commit"
    REFUSE_BEFORE_COMMIT = "refuse.before_commit"
    REFUSE_AFTER_COMMIT = "refuse.after_commit"
    STEP_BEFORE_COMMIT = "step.before_commit"
    STEP_AFTER_COMMIT = "step.after_commit"
    RESERVE_BEFORE_COMMIT = "reserve.before_commit"
    RESERVE_AFTER_COMMIT = "reserve.after_commit"
    OUTCOME_BEFORE_COMMIT = "outcome.before_commit"
    OUTCOME_AFTER_COMMIT = "outcome.after_commit"
    LOSE_BEFORE_COMMIT = "lose.before_commit"
    LOSE_AFTER_COMMIT = "lose.after_commit"
    REAP_BEFORE_COMMIT = "reap.before_commit"
    REAP_AFTER_COMMIT = "reap.after_commit"
    TEND_BEFORE_COMMIT = "tend.before_commit"
    TEND_AFTER_COMMIT = "tend.after_commit"
    EXPIRE_BEFORE_COMMIT = "expire.before_commit"
    EXPIRE_AFTER_COMMIT = "expire.after_commit"
    COUNT_BEFORE_COMMIT = "count.before_commit"
    COUNT_AFTER_COMMIT = "count.after_commit"
    PRUNE_BEFORE_COMMIT = "prune.before_commit"
    PRUNE_AFTER_COMMIT = "prune.after_commit"
    PROBE_BEFORE_COMMIT = "probe.before_commit"
    PROBE_AFTER_COMMIT = "probe.after_commit"
    FIRE_BEFORE_INSERT = "fire.before_insert"
    FIRE_BEFORE_COMMIT = "fire.before_commit"
    FIRE_AFTER_COMMIT = "fire.after_commit"
    FIRE_BUFFERED_BEFORE_COMMIT = "fire_buffered.before_commit"
    FIRE_BUFFERED_AFTER_COMMIT = "fire_buffered.after_commit"
    SETTLE_BEFORE_COMMIT = "settle.before_commit"
    SETTLE_AFTER_COMMIT = "settle.after_commit"
    SCHEDULE_BEFORE_COMMIT = "schedule.before_commit"
    SCHEDULE_AFTER_COMMIT = "schedule.after_commit"
    RUN_SCHEDULE_BEFORE_COMMIT = "run_schedule.before_commit"
    RUN_SCHEDULE_AFTER_COMMIT = "run_schedule.after_commit"
    BACKFILL_BEFORE_COMMIT = "backfill.before_commit"
    BACKFILL_AFTER_COMMIT = "backfill.after_commit"
    GIVE_BACK_BEFORE_COMMIT = "give_back.before_commit"
    GIVE_BACK_AFTER_COMMIT = "give_back.after_commit"
    STOP_BEFORE_COMMIT = "stop.before_commit"
    STOP_AFTER_COMMIT = "stop.after_commit"
    OPERATE_BEFORE_COMMIT = "operate.before_commit"
    OPERATE_AFTER_COMMIT = "operate.after_commit"
    ALERT_BEFORE_COMMIT = "alert.before_commit"
    ALERT_AFTER_COMMIT = "alert.after_commit"
    TELL_AFTER_CLAIM = "tell.after_claim"
    TELL_AFTER_SEND = "tell.after_send"
    TELL_END_AFTER_CLAIM = "tell_end.after_claim"
    TELL_END_AFTER_SEND = "tell_end.after_send"
    MIGRATE_BEFORE_COMMIT = "migrate.before_commit"
    MIGRATE_AFTER_COMMIT = "migrate.after_commit"
    DROP_BEFORE_COMMIT = "drop.before_commit"
    DROP_AFTER_COMMIT = "drop.after_commit"
    DRAIN_BEFORE_COMMIT = "drain.before_commit"
    DRAIN_AFTER_COMMIT = "drain.after_commit"


def _armed() -> tuple[str, int] | None:
    spec = os.environ.get("MIREPOIX_CRASHPOINT")
    if not spec:
        return None
    name, _, nth = spec.partition(":")
    return Crashpoint(name).value, int(nth or 1)


_ARMED = _armed()
_crossings = itertools.count(1)


def reached(point: Crashpoint) -> None:
    """Die here if a test armed this point. Otherwise return at once."""
    if _ARMED is None or _ARMED[0] != point:
        return
    if next(_crossings) >= _ARMED[1] and _token_taken():
        os.kill(os.getpid(), signal.SIGKILL)


def _token_taken() -> bool:
    token = os.environ.get("MIREPOIX_CRASHPOINT_TOKEN")
    if token is None:
        return True
    try:
        Path(token).unlink()
    except FileNotFoundError:
        return False
    return True
