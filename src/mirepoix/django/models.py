"""The ledger's tables as models that only read. ``docs/reference/schema.md`` explains every column."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from mirepoix.django.fields import Due, Json, Key, Moment
from mirepoix.django.readonly import LedgerModel
from mirepoix.ledger.holds import LONGEST_VALUE, Kind
from mirepoix.ledger.query.values import arguments
from mirepoix.states import State


def _reference(to: str, related_name: str, **options: Any) -> Any:
    """Return a foreign key to a row that may have been pruned, or was never in the ledger."""
    return models.ForeignKey(to, models.DO_NOTHING, related_name=related_name, db_constraint=False, **options)


class Task(LedgerModel):
    """One task. Its id is Celery's."""

    STATES: ClassVar = [(state.value, state.value) for state in State]

    id = models.CharField(max_length=255, primary_key=True)
    seq = models.BigIntegerField()
    name = models.TextField()
    queue = models.TextField()
    priority = models.SmallIntegerField()
    state = models.CharField(max_length=20, choices=STATES)
    reason = models.TextField(null=True)
    generation = models.IntegerField()
    revoked_generation = models.IntegerField(null=True)
    is_suspect = models.IntegerField()
    fence = models.IntegerField("attempts")
    retries = models.IntegerField()
    deaths = models.IntegerField()
    handovers = models.IntegerField()
    root = _reference("self", "descendants", null=True)
    parent = _reference("self", "children", null=True)
    group_id = models.TextField("group", null=True)
    created_at = Moment("sent at")
    eta = Moment(null=True)
    due_at = Due(null=True)
    held_by = models.TextField(null=True)
    expires_at = Moment(null=True)
    requeued_at = Moment(null=True)
    leased_at = Moment("handed over at", null=True)
    started_at = Moment(null=True)
    finished_at = Moment(null=True)
    waited_s = models.FloatField(null=True)
    run_time_s = models.FloatField(null=True)
    peak_memory_kb = models.BigIntegerField(null=True)
    worker = _reference("Worker", "tasks", null=True)
    pid = models.IntegerField(null=True)
    content_type = models.TextField()
    content_encoding = models.TextField()
    body_encoding = models.TextField()
    body = models.TextField()
    headers = Json()
    properties = Json()
    exchange = models.TextField()
    routing_key = models.TextField()
    sent_fence = models.IntegerField(null=True)
    sent_at = Moment(null=True)
    sendings = models.IntegerField()
    version = models.IntegerField()
    shape = models.TextField(null=True)
    parked_for = models.TextField(null=True)
    written_by = models.TextField(null=True)
    limit_key = models.TextField(null=True)
    failure_group = models.TextField(null=True)

    class Meta(LedgerModel.Meta):
        """Each decision about tasks has its own permission."""

        db_table = "mirepoix_task"
        permissions: ClassVar = [
            ("retry_task", "Can retry failed tasks and run waiting ones now"),
            ("requeue_task", "Can requeue tasks"),
            ("cancel_task", "Can cancel tasks"),
            ("discard_task", "Can discard tasks"),
        ]

    def __str__(self) -> str:
        return f"{self.name}[{self.id}]"

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]] | None:
        """``(args, kwargs)``, or None if the body is not Celery's JSON."""
        return arguments(self.content_type, self.body_encoding, self.body)

    @property
    def args(self) -> list[Any] | None:
        """The positional arguments, or None if the body is not Celery's JSON."""
        return None if self.arguments is None else self.arguments[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """The keyword arguments, or None if the body is not Celery's JSON."""
        return None if self.arguments is None else self.arguments[1]


class Attempt(LedgerModel):
    """One execution of a task, from the view ``mirepoix_attempt_history``, which has all of them."""

    key = Key("task_id", "fence")
    task = _reference("Task", "attempts")
    fence = models.IntegerField()
    generation = models.IntegerField()
    outcome = models.TextField()
    worker = _reference("Worker", "attempts", null=True)
    pid = models.IntegerField(null=True)
    leased_at = Moment("handed over at", null=True)
    started_at = Moment(null=True)
    finished_at = Moment(null=True)
    run_time_s = models.FloatField(null=True)
    peak_memory_kb = models.BigIntegerField(null=True)
    error_type = models.TextField(null=True)
    error = models.TextField(null=True)
    traceback = models.TextField(null=True)
    signal = models.IntegerField(null=True)
    exit_code = models.IntegerField(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_attempt_history"

    def __str__(self) -> str:
        return f"attempt {self.fence} of {self.task_id}: {self.outcome}"


class Worker(LedgerModel):
    """One incarnation of a worker process."""

    STATES: ClassVar = [(state, state) for state in ("alive", "stopped", "dead")]

    id = models.CharField(max_length=255, primary_key=True)
    name = models.TextField()
    host = models.TextField()
    pid = models.IntegerField()
    pool = models.TextField()
    concurrency = models.IntegerField()
    queues = Json()
    software = Json()
    state = models.CharField(max_length=20, choices=STATES)
    reason = models.TextField(null=True)
    started_at = Moment()
    heartbeat_at = Moment()
    alive_until = Moment()
    ended_at = Moment(null=True)
    maintained_at = Moment(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_worker"

    def __str__(self) -> str:
        return str(self.name)


class Result(LedgerModel):
    """What a task returned or raised. A result may have no task in the ledger, and a task may have no result."""

    task = models.OneToOneField(
        Task, models.DO_NOTHING, primary_key=True, related_name="kept_result", db_constraint=False
    )
    status = models.TextField()
    result = models.TextField(null=True)
    content_type = models.TextField()
    traceback = models.TextField(null=True)
    meta = Json()
    stored_at = Moment()
    expires_at = Moment(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_result"

    def __str__(self) -> str:
        return f"{self.status} of {self.task_id}"


class Step(LedgerModel):
    """A finished step of a task."""

    key = Key("task_id", "name")
    task = _reference("Task", "steps")
    name = models.TextField()
    result = Json()
    fence = models.IntegerField()
    created_at = Moment("done at")
    run_time_s = models.FloatField(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_step"

    def __str__(self) -> str:
        return f"step {self.name} of {self.task_id}"


class Edit(LedgerModel):
    """A person's change of a payload."""

    id = models.BigAutoField(primary_key=True)
    task = _reference("Task", "edits")
    edited_at = Moment()
    edited_by = models.TextField()
    reason = models.TextField()
    before_edit = Json()
    after_edit = Json()

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_edit"

    def __str__(self) -> str:
        return f"edit of {self.task_id} by {self.edited_by}"


class Decision(LedgerModel):
    """A person's decision about a task."""

    id = models.BigAutoField(primary_key=True)
    task = _reference("Task", "decisions")
    decided_at = Moment()
    verb = models.TextField()
    decided_by = models.TextField()
    reason = models.TextField()

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_decision"

    def __str__(self) -> str:
        return f"{self.verb} of {self.task_id} by {self.decided_by}"


class SubmissionKey(LedgerModel):
    """A key of `mirepoix.submit_once`, and the task that was sent under it."""

    id = models.CharField(max_length=255, primary_key=True)
    task = _reference("Task", "submission_keys")
    task_name = models.TextField()
    call_hash = models.TextField()
    shape = Json()
    created_at = Moment()
    expires_at = Moment(null=True)
    callback_to = models.TextField(null=True)
    callback = models.TextField(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_key"

    def __str__(self) -> str:
        return f"key {self.id} of {self.task_id}"


class FailureGroup(LedgerModel):
    """Failures of one cause. Its ``state`` is the last decision: see `mirepoix.ledger.query.failures.GroupStatus`."""

    STATES: ClassVar = [(state, state) for state in ("open", "resolved", "ignored")]

    id = models.CharField(max_length=255, primary_key=True)
    title = models.TextField()
    name = models.TextField("task")
    state = models.CharField(max_length=20, choices=STATES)
    failures = models.BigIntegerField()
    first_seen_at = Moment("first seen")
    last_seen_at = Moment("last seen")
    first_release = models.TextField(null=True)
    last_release = models.TextField(null=True)
    last_task = _reference("Task", "last_failure_of", null=True)
    hour_at = Moment()
    hour_failures = models.IntegerField()
    decided_at = Moment(null=True)
    decided_by = models.TextField(null=True)
    note = models.TextField(null=True)
    resolved_in = models.TextField(null=True)
    ignored_until = Moment(null=True)
    ignored_to = models.BigIntegerField(null=True)
    ignored_per_hour = models.IntegerField(null=True)
    regressed_at = Moment(null=True)
    regressed_in = models.TextField(null=True)
    regressions = models.IntegerField()

    class Meta(LedgerModel.Meta):
        """Each decision about failure groups has its own permission."""

        db_table = "mirepoix_failure_group"
        permissions: ClassVar = [
            ("resolve_failuregroup", "Can resolve failure groups"),
            ("ignore_failuregroup", "Can ignore failure groups"),
            ("reopen_failuregroup", "Can reopen failure groups"),
        ]

    def __str__(self) -> str:
        return str(self.title)


class Replay(LedgerModel):
    """Tasks of a failure group that were run again together."""

    id = models.CharField(max_length=255, primary_key=True)
    failure_group = _reference("FailureGroup", "replays", db_column="failure_group")
    began_at = Moment()
    began_by = models.TextField()
    reason = models.TextField()
    tasks = models.IntegerField()
    canaries = models.IntegerField()
    rate_per_s = models.FloatField()
    ended_at = Moment(null=True)
    outcome = models.TextField(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_replay"

    def __str__(self) -> str:
        return f"replay {self.id}"


class Alert(LedgerModel):
    """A condition that a person should know about."""

    id = models.CharField(max_length=255, primary_key=True)
    kind = models.TextField()
    subject = models.TextField()
    title = models.TextField()
    name = models.TextField("task", null=True)
    task = _reference("Task", "alerts", null=True)
    queue = models.TextField(null=True)
    in_release = models.TextField("release", null=True)
    occasion = models.IntegerField()
    opened_at = Moment()
    closed_at = Moment(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_alert"

    def __str__(self) -> str:
        return str(self.title)


class AlertTelling(LedgerModel):
    """The notification of one channel about one occasion of an alert, sent or due."""

    key = Key("alert_id", "occasion", "channel")
    alert = _reference("Alert", "tellings")
    occasion = models.IntegerField()
    channel = models.CharField(max_length=255)
    due_at = Moment()
    tries = models.IntegerField()
    told_at = Moment(null=True)
    is_summed = models.IntegerField()
    trouble = models.TextField(null=True)
    end_told_at = Moment(null=True)

    class Meta(LedgerModel.Meta):
        db_table = "mirepoix_alert_telling"

    def __str__(self) -> str:
        return f"{self.channel} of {self.alert_id}"


class Hold(LedgerModel):
    """A queue, a task's name, a worker or a release that is paused."""

    KINDS: ClassVar = [(kind.value, kind.value) for kind in Kind]

    key = Key("kind", "value")
    kind = models.CharField(max_length=32, choices=KINDS)
    value = models.CharField("name", max_length=LONGEST_VALUE)
    paused_at = Moment()
    paused_by = models.TextField()
    note = models.TextField("why", blank=True)

    class Meta(LedgerModel.Meta):
        """To pause and to resume are permissions of their own."""

        db_table = "mirepoix_hold"
        verbose_name = "pause"
        permissions: ClassVar = [
            ("pause_hold", "Can pause queues, tasks, workers and releases"),
            ("resume_hold", "Can resume what is paused"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"
