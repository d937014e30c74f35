"""Suggest what to do about a finding."""

from __future__ import annotations

from mirepoix.crashtest.explore import Explored

_MAIL = 'send it as a step, which a redelivery skips: mirepoix.step("mail", send_mail, ...)'
_ORDER = (
    "the task marks its work as done before it is. Do the effect first and mark it afterwards, or send it as a task of "
    "its own in the transaction that marks it (with Mirepoix: .delay() inside atomic())"
)
_TRANSACTIONAL = "@app.task(transactional=True): what it writes commits with its outcome, once"
_OF_KEYS = (
    "write values that do not depend on an earlier run (SET, SADD, HSET; not INCR, RPUSH), or write them in one MULTI "
    "with a key that says that it was done, and read that key first"
)
NAMED_APART = '. Here one line does it many times: give each its own name, such as f"mail-{user.pk}"'
_REMEDIES = {
    "changed-key": 'a key that is the same in each delivery: mirepoix.idempotency_key("charge"), or one of the order',
    "duplicate-http": (
        'send an Idempotency-Key that is the same in each delivery: mirepoix.idempotency_key("charge"). If the service '
        'knows none, call it in a step: mirepoix.step("charge", charge, order)'
    ),
    "duplicate-aws": (
        "give it a token that is the same in each delivery, if the operation takes one (ClientToken, a FIFO queue's "
        'MessageDeduplicationId): mirepoix.idempotency_key("order"); if not, call it in a step: '
        'mirepoix.step("order", ...)'
    ),
    "duplicate-mail": _MAIL,
    "duplicate-enqueue": (
        "the task that it sends must be safe to run twice; or commit the send together with the write that records it "
        "(with Mirepoix: transactional=True)"
    ),
    "duplicate-redis": (
        "subscribers must tolerate a second message; or publish in a step, which a redelivery skips: "
        'mirepoix.step("tell", client.publish, ...)'
    ),
    "lost-redis": _ORDER,
    "lost-http": _ORDER,
    "lost-aws": _ORDER,
    "lost-mail": _ORDER,
    "lost-enqueue": _ORDER,
    "early-ack": "acks_late=True with task_reject_on_worker_lost=True, or mirepoix.install(app): then it is run again",
    "duplicate-row": f"{_TRANSACTIONAL}; or a unique constraint and get_or_create() on what identifies the row",
    "lost-row": f"{_TRANSACTIONAL}; or one atomic() around writes that belong together",
    "changed-row": f"{_TRANSACTIONAL}; or write values that do not depend on an earlier run (no += )",
    "changed-file": "write a file of another name and os.replace() it when it is complete",
    "lost-file": "write a file of another name and os.replace() it when it is complete",
    "left-file": "a redelivery does not know it: give it a name that the next run overwrites, and remove it last",
    "stuck": "a trace of an earlier delivery is in its way: let it expire, or check whether the task itself left it",
    "fails": "a trace of an earlier delivery is in its way: treat it as done (get_or_create, exist_ok)",
    "deadlock": (
        "take the lock that both need first, before anything is written: select_for_update() on that row; and let the "
        "task be retried on OperationalError"
    ),
    "swallowed": "catch the exceptions that you expect; `except Exception` at the most",
    "invariant": f"{_TRANSACTIONAL}; or let each commit keep it",
}


def remedy(explored: Explored, kind: str, subject: str, *, is_narrow: bool) -> str:
    """Return the remedy for a finding of that *kind*."""
    if is_narrow:
        return (
            "only a crash in the instant before the step is stored does that. To close this gap too, send the other "
            "side mirepoix.idempotency_key() of the step's name"
        )
    if kind == "changed-row" and subject.startswith("Redis."):
        return _OF_KEYS
    if kind.startswith("lost-") and explored.call.is_transactional:
        return "actions that wait for the commit are lost with the process: send a task in the transaction itself"
    return _REMEDIES.get(kind, "write it so that it is the same in each delivery")
