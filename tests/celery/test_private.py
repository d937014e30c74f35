"""What we take from inside Celery, kombu, billiard and the drivers is there, with the parameters that we use.

`mirepoix/celery/private.py`, `mirepoix/delivery/private.py` and `mirepoix/connect/private.py` say why we take it.
`scripts/compatibility` runs this file on every promised Celery and Python.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import EllipsisType, SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.app.amqp import AMQP
from celery.app.control import Control
from celery.app.registry import TaskRegistry
from celery.app.task import Task
from celery.concurrency.solo import TaskPool
from celery.worker.request import Request, create_request_cls
from kombu.transport import redis

import mirepoix.celery.private
import mirepoix.connect.private
import mirepoix.delivery.private
from mirepoix.broker.message import LeasedMessage
from mirepoix.broker.redis_unacked import NotificationQoS
from mirepoix.broker.tolerant import TolerantMessage
from mirepoix.celery.backend import LedgerBackend
from mirepoix.celery.bootsteps import HoldLeases
from mirepoix.celery.capture import CaptureProducer, capturing
from mirepoix.celery.consumer import LedgerConsumer
from mirepoix.celery.control import durable
from mirepoix.celery.pool.asynchronous import AsyncTaskPool
from mirepoix.celery.pool.direct import TaskPool as DirectPool
from mirepoix.celery.request import LedgerRequest
from mirepoix.celery.task import LedgerTask, adopting
from mirepoix.celery.versions import FailingBackend
from mirepoix.kombu.channel import Channel
from mirepoix.kombu.qos import QoS
from mirepoix.kombu.transport import Transport
from releases import CELERY

TAKEN: dict[str, dict[str, str | EllipsisType]] = {
    "celery._state": {
        "_get_active_apps": "",
        "_task_stack": "",
        "_tls": ...,
        "connect_on_app_finalize": "callback",
        "default_app": ...,
    },
    "celery._state:_task_stack": {
        "pop": "",
        "push": "obj",
    },
    "celery._state:_tls": {
        "current_app": ...,
    },
    "celery.app.amqp:AMQP": {
        "Connection": ...,
        "_create_task_sender": "",
        "as_task_v2": "task_id name args kwargs countdown eta group_id group_index expires ...",
        "create_task_message": ...,
        "send_task_message": ...,
        "task_protocols": ...,
    },
    "celery.app.autoretry": {
        "add_autoretry_behaviour": "task **options",
    },
    "celery.app.base": {
        "pydantic_wrapper": "app task_fun ...",
    },
    "celery.app.base:Celery": {
        "_tasks": ...,
        "amqp": ...,
        "amqp_cls": ...,
        "autofinalize": ...,
        "control": ...,
        "control_cls": ...,
        "finalized": ...,
        "producer_or_acquire": "producer",
        "send_task": "name args kwargs countdown eta task_id ...",
        "steps": ...,
    },
    "celery.app.control:Control": {
        "revoke": "task_id destination terminate signal **kwargs",
    },
    "celery.app.task:Context": {
        "_children": ...,
        "_get_custom_headers": "*args **kwargs",
        "_protected": ...,
    },
    "celery.app.task:Task": {
        "Request": ...,
        "Strategy": ...,
        "__call__": "*args **kwargs",
        "__trace__": ...,
        "_backend": ...,
        "apply_async": "args kwargs task_id producer link link_error shadow **options",
        "backend": ...,
        "replace": "sig",
        "request_stack": ...,
        "run": ...,
        "retry": "args kwargs exc throw eta countdown max_retries **options",
        "start_strategy": "app consumer **kwargs",
    },
    "celery.app.trace": {
        "TraceInfo": ...,
        "LOG_RECEIVED": ...,
        "fast_trace_task": "task uuid request body content_type content_encoding ...",
        "trace_task_ret": "name uuid request body content_type content_encoding ...",
        "build_tracer": "name task loader hostname store_errors Info eager propagate app ...",
        "task_has_custom": "task attr",
        "trace_ok_t": "retval info runtime retstr",
        "trace_task": "task uuid args kwargs request **opts",
    },
    "celery.app.utils:Settings": {
        "broker_read_url": ...,
        "broker_write_url": ...,
    },
    "celery.backends.base:Backend": {
        "__init__": "app serializer max_cached_results accept expires expires_type url **kwargs",
        "_cache": ...,
        "_call_task_errbacks": "request exc traceback",
        "_ensure_not_eager": "",
        "_forget": "task_id",
        "_get_result_meta": "result state traceback request format_date encode",
        "add_to_chord": "chord_id result",
        "apply_chord": "header_result_args body **kwargs",
        "as_uri": "include_password",
        "chord_error_from_stack": "callback exc",
        "encode_result": "result state",
        "exception_to_python": "exc",
        "fail_from_current_stack": "task_id exc",
        "mark_as_done": "task_id result request store_result state",
        "mark_as_failure": "task_id exc traceback request store_result call_errbacks state",
        "mark_as_revoked": "task_id reason request store_result state",
        "meta_from_decoded": "meta",
        "on_chord_part_return": "request state result **kwargs",
        "prepare_exception": "exc serializer",
        "prepare_expires": "value type",
        "set_chord_size": "group_id chord_size",
        "store_result": "task_id result state traceback request **kwargs",
        "supports_autoexpire": ...,
        "supports_native_join": ...,
    },
    "celery.backends.base:SyncBackendMixin": {
        "wait_for": "task_id timeout interval no_ack on_interval",
        "wait_for_pending": "result timeout interval no_ack on_message on_interval callback propagate",
    },
    "celery.bootsteps:Blueprint": {
        "on_stopped": ...,
    },
    "celery.bootsteps:StartStopStep": {
        "create": "parent",
        "info": "obj",
        "name": ...,
        "requires": ...,
        "start": "parent",
    },
    "celery.canvas:Signature": {
        "_merge": "args kwargs options force",
    },
    "celery.concurrency.asynpool:AsynPool": {
        "_busy_workers": ...,
    },
    "celery.concurrency": {
        "ALIASES": ...,
    },
    "celery.concurrency.base:BasePool": {
        "__init__": "limit putlocks forking_enable callbacks_propagate app **options",
        "_get_info": "",
        "_pool": ...,
        "apply_async": "target args kwargs **options",
        "did_start_ok": "",
        "flush": "",
        "maintain_pool": "*args **kwargs",
        "num_processes": ...,
        "on_close": "",
        "on_start": "",
        "on_stop": "",
        "on_terminate": "",
        "register_with_event_loop": "loop",
        "restart": "",
        "signal_safe": ...,
        "start": "",
        "terminate_job": "pid signal",
        "uses_semaphore": ...,
    },
    "celery.concurrency.prefork": {
        "process_destructor": "pid exitcode",
        "process_initializer": "app hostname",
    },
    "celery.result:AsyncResult": {
        "_maybe_set_cache": "meta",
    },
    "celery.utils.functional": {
        "_regen": ...,
    },
    "celery.worker.consumer.consumer:Consumer": {
        "add_task_queue": "queue exchange exchange_type routing_key **options",
        "bucket_for_task": "type",
        "cancel_task_queue": "queue",
        "connect": "",
        "create_task_handler": "promise",
        "ensure_connected": "conn",
        "on_close": "",
        "on_decode_error": "message exc",
        "on_invalid_task": "body message exc",
        "on_unknown_message": "body message",
        "on_unknown_task": "body message exc",
        "update_strategies": "",
    },
    "celery.worker.request": {
        "create_request_cls": "base task pool hostname eventer ...",
    },
    "celery.worker.request:Request": {
        "__init__": (
            "message on_ack hostname eventer app connection_errors request_dict task on_reject body "
            "headers decoded utc maybe_make_aware maybe_iso8601 **opts"
        ),
        "_already_cancelled": ...,
        "_already_revoked": ...,
        "_announce_revoked": "reason terminated signum expired",
        "_app": ...,
        "_apply_result": ...,
        "_context": ...,
        "_payload": ...,
        "_request_dict": ...,
        "acknowledge": "",
        "info": "safe",
        "on_accepted": "pid time_accepted",
        "on_failure": "exc_info send_failed_event return_ok",
        "on_timeout": "soft timeout",
        "reject": "requeue",
        "revoked": "",
    },
    "celery.worker.control:Panel": {
        "data": ...,
    },
    "celery.worker.state": {
        "active_requests": ...,
        "all_total_count": ...,
        "revoked_stamps": ...,
        "task_reserved": "request ...",
        "total_count": ...,
        "reserved_requests": ...,
        "revoked": ...,
        "should_stop": ...,
        "should_terminate": ...,
        "task_ready": "request ...",
    },
    "celery.worker.worker:WorkController": {
        "wait_for_soft_shutdown": "",
    },
    "billiard.einfo:ExceptionInfo": {
        "__init__": "exc_info internal",
    },
    "billiard.pool": {
        "SIG_SOFT_TIMEOUT": ...,
        "soft_timeout_sighandler": "signum frame",
    },
    "billiard.pool:ApplyResult": {
        "_accepted": ...,
        "_scheduled_for": ...,
        "_write_to": ...,
    },
    "billiard.pool:Pool": {
        "_cache": ...,
        "_pool": ...,
        "maintain_pool": "",
    },
    "billiard.process:BaseProcess": {
        "_is_alive": "",
    },
    "kombu.connection:Connection": {
        "channel": "",
        "ensure_connection": "*args **kwargs",
    },
    "kombu.message:Message": {
        "__init__": (
            "body delivery_tag content_type content_encoding delivery_info properties headers postencode "
            "accept channel **kwargs"
        ),
        "_reraise_error": "callback",
        "_state": ...,
        "ack": "multiple",
        "reject": "requeue",
        "requeue": "",
    },
    "kombu.messaging:Consumer": {
        "_active_tags": ...,
    },
    "kombu.messaging:Producer": {
        "__init__": "channel exchange routing_key serializer auto_declare compression on_return",
        "_prepare": "body serializer content_type content_encoding compression headers",
        "channel": ...,
        "connection": ...,
        "publish": (
            "body routing_key delivery_mode mandatory immediate priority content_type content_encoding "
            "serializer headers compression exchange retry retry_policy declare expiration timeout "
            "confirm_timeout **properties"
        ),
    },
    "kombu.transport.base:Transport": {
        "as_uri": "uri include_password mask",
        "can_parse_url": ...,
        "connection_errors": ...,
        "driver_name": ...,
        "driver_type": ...,
        "driver_version": "",
        "register_with_event_loop": "connection loop",
    },
    "kombu.transport.redis:Channel": {
        "_brpop_read": "**options",
        "_do_restore_message": "payload exchange routing_key pipe leftmost",
        "_get_message_priority": "message reverse",
        "_lookup": "exchange routing_key default",
        "_q_for_pri": "queue pri",
        "conn_or_acquire": "client",
        "global_keyprefix": ...,
        "handlers": ...,
        "keyprefix_queue": ...,
        "priority_steps": ...,
        "sep": ...,
        "unacked_key": ...,
    },
    "redis.client:Redis": {
        "parse_response": "connection command_name **options",
    },
    "amqp.channel:Channel": {
        "confirm_select": "nowait",
        "events": ...,
        "queue_purge": "queue nowait argsig",
    },
    "kombu.transport.redis:QoS": {
        "_remove_from_indices": "delivery_tag pipe",
        "ack": "delivery_tag",
        "append": "message delivery_tag",
        "pipe_or_acquire": "pipe client",
        "reject": "delivery_tag requeue",
        "restore_by_tag": "tag client leftmost",
        "restore_unacked": "client",
    },
    "kombu.transport.virtual.base:Channel": {
        "Message": ...,
        "QoS": ...,
        "__init__": "connection **kwargs",
        "_active_queues": ...,
        "_consumers": ...,
        "_delete": "queue *args **kwargs",
        "_get": "queue timeout",
        "_has_queue": "queue **kwargs",
        "_next_delivery_tag": "",
        "_purge": "queue",
        "_put": "queue message",
        "_size": "queue",
        "body_encoding": ...,
        "close": "",
        "do_restore": ...,
        "from_transport_options": ...,
        "get_table": "exchange",
        "prepare_message": "body priority content_type content_encoding headers properties",
        "queue_purge": "queue **kwargs",
        "supports_fanout": ...,
    },
    "kombu.transport.virtual.base:Message": {
        "__init__": "payload channel **kwargs",
        "_raw": ...,
    },
    "kombu.transport.virtual.base:QoS": {
        "_delivered": ...,
        "_dirty": ...,
        "_quick_ack": ...,
        "ack": "delivery_tag",
        "can_consume": "",
        "reject": "delivery_tag requeue",
        "restore_unacked_once": "stderr",
    },
    "kombu.transport.virtual.base:Transport": {
        "Channel": ...,
        "__init__": "client **kwargs",
        "_deliver": "message queue",
        "channels": ...,
        "close_connection": "connection",
        "default_port": ...,
        "drain_events": "connection timeout",
        "establish_connection": "",
        "implements": ...,
    },
    "kombu.transport.virtual.exchange:TopicExchange": {
        "_match": "pattern string",
        "key_to_pattern": "rkey",
    },
    "psycopg:AsyncConnection": {
        "_num_transactions": ...,
    },
    "pymysql.connections:Connection": {
        "_create_ssl_ctx": "sslp",
        "_sock": ...,
    },
    "sqlalchemy:Connection": {
        "_is_autocommit_isolation": "",
    },
    "asgiref.sync:SyncToAsync": {
        "single_thread_executor": ...,
    },
    "concurrent.futures:ThreadPoolExecutor": {
        "_threads": ...,
    },
    "celery.utils.threads": {
        "_LocalStack": ...,
        "get_ident": ...,
    },
    "celery.utils.threads:_LocalStack": {
        "__ident_func__": ...,
    },
    "celery.worker.consumer.tasks:Tasks": {
        "qos_global": "c",
    },
}
"""By what it is an attribute of: the names that we read, replace or override, with the parameters of each function.

``...`` behind parameters: others may follow, which we do not give. ``...`` alone: it is no function that we call, or an
attribute that instances set.
"""

TAKEN_SINCE: dict[tuple[int, int], dict[str, dict[str, str | EllipsisType]]] = {
    (5, 6): {
        "celery.worker.consumer.consumer:Consumer": {
            "cancel_active_requests": "",  # before: cancel_all_unacked_requests
        },
    },
    (5, 7): {
        "celery.backends.base:Backend": {
            "_errback_arity_greater": "errback n",
            "_fail_chain": "chain exc traceback store_result state",
            "supports_failure_expires": ...,
            "task_result_exists": "task_id",
        },
    },
}
"""The same from that version of Celery on. `mirepoix/celery/versions.py` stands in before."""

HOOKS = {
    "celery.backends.base:Backend.store_result": ("_store_result",),
    "celery.backends.base:Backend.get_task_meta": ("_get_task_meta_for",),
    "celery.backends.base:Backend.save_group": ("_save_group",),
    "celery.backends.base:Backend.get_group_meta": ("_restore_group",),
    "celery.backends.base:Backend.delete_group": ("_delete_group",),
    "celery.backends.base:SyncBackendMixin.iter_native": ("get_many",),
    "kombu.transport.virtual.base:Channel.queue_bind": ("_queue_bind",),
    "kombu.transport.virtual.exchange:FanoutExchange.deliver": ("_put_fanout",),
}
"""Methods of ours that Celery and kombu call although their own classes have none: who calls which."""

WORDS = {
    "celery.app.autoretry": ("_orig_run",),
    "celery.app.base:Celery._task_from_fun": ("__header__",),
    "celery.app.task:Task.retry": ("override_max_retries",),
    "celery.app.trace": ("__trace__",),
    "celery.concurrency.asynpool": ("inqW_fd",),
    "celery.worker.consumer.consumer:Consumer.update_strategies": ("__trace__",),
}
"""What Celery's code must name, as no class of its own declares it."""


class OurTask(LedgerTask, Task):
    """A task as `adopt` makes one."""


class OurQoS(NotificationQoS, redis.QoS):
    """What a channel for Redis accounts with, as `keep_no_copy` makes it."""


class OurMessage(TolerantMessage, redis.Channel.Message):
    """What a channel for Redis makes, as `tolerate` makes it."""


OURS = (
    LedgerBackend,
    FailingBackend,
    LedgerRequest,
    LedgerConsumer,
    HoldLeases,
    AsyncTaskPool,
    DirectPool,
    OurTask,
    adopting(TaskRegistry),
    capturing(AMQP),
    durable(Control),
    CaptureProducer,
    Channel,
    QoS,
    Transport,
    LeasedMessage,
    OurMessage,
    OurQoS,
)
"""Our subclasses of their classes."""

MAGIC = {"__init__", "__call__", "__trace__"}

LISTS = (mirepoix.celery.private, mirepoix.delivery.private, mirepoix.connect.private)

OPTIONAL = {"psycopg", "pymysql", "sqlalchemy", "asgiref"}


def taken() -> dict[str, dict[str, str | EllipsisType]]:
    """What is taken from the Celery that is installed."""
    found = {path: dict(names) for path, names in TAKEN.items()}
    for since, more in TAKEN_SINCE.items():
        for path, names in more.items() if since <= CELERY else ():
            found.setdefault(path, {}).update(names)
    return found


def resolve(path: str) -> Any:
    """The module, class, method or object of that path."""
    module, _, rest = path.partition(":")
    if module.partition(".")[0] in OPTIONAL:
        pytest.importorskip(module)
    found: Any = importlib.import_module(module)
    for name in filter(None, rest.split(".")):
        found = getattr(found, name)
    return found


def parameters(function: Any) -> list[str]:
    """The names of its parameters, without ``self``."""
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = inspect.signature(function).parameters.values()
    return [kinds.get(one.kind, "") + one.name for one in found if one.name != "self"]


def has(owner: Any, name: str) -> bool:
    """Whether it has the attribute, or its instances set it."""
    if inspect.getattr_static(owner, name, None) is not None or hasattr(owner, name):
        return True
    sets = re.compile(rf"\bself\.{name}\b[^=\n]*=(?!=)")
    return inspect.isclass(owner) and any(sets.search(source(cls)) for cls in owner.__mro__)


def source(code: Any) -> str:
    """Its source; nothing for what is written in C."""
    try:
        return textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError):
        return ""


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        pytest.param(path, name, one, id=f"{path}-{name}")
        for path, names in taken().items()
        for name, one in names.items()
    ],
)
def test_what_we_take_is_there(path: str, name: str, expected: str | EllipsisType):
    owner = resolve(path)
    assert has(owner, name)
    if isinstance(expected, EllipsisType):
        return
    found, words = parameters(getattr(owner, name)), expected.split()
    if words[-1:] == ["..."]:
        assert found[: len(words) - 1] == words[:-1]
    else:
        assert found == words


@pytest.mark.parametrize("path", [*HOOKS, *WORDS])
def test_what_celery_calls_or_names_is_in_its_code(path: str):
    code = source(resolve(path))
    assert [name for name in HOOKS.get(path, ()) if not re.search(rf"\.{name}\b", code)] == []
    assert [name for name in WORDS.get(path, ()) if name not in code] == []


def overridden(cls: type) -> Iterator[tuple[str, Any, Any]]:
    """The attributes of *cls* that take the place of others: the name, ours and theirs."""
    own = [one for one in cls.__mro__ if one.__module__.startswith(("mirepoix.", __name__))]
    theirs = [one for one in cls.__mro__ if one not in own and one.__module__ not in ("builtins", "typing")]
    names = {name for one in own for name in vars(one) if not name.startswith("__") or name in MAGIC}
    for name in sorted(names):
        for one in theirs:
            if name in vars(one):
                yield name, next(vars(ours)[name] for ours in own if name in vars(ours)), vars(one)[name]
                break


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_the_list_has_all_that_our_class_overrides(cls: type):
    listed = names_listed_for(cls)
    assert [name for name, _, _ in overridden(cls) if name not in listed] == []


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_our_method_takes_what_the_one_that_it_overrides_takes(cls: type):
    for name, ours, theirs in overridden(cls):
        if name == "__init__" or not inspect.isfunction(ours) or not inspect.isfunction(theirs):
            continue
        own, named = parameters(ours), [one for one in parameters(theirs) if not one.startswith("*")]
        inspect.signature(ours).bind("self", *named)
        takes_any = any(one.startswith("**") for one in own)
        if cls is not HoldLeases and not takes_any:  # Celery gives steps their worker by position
            assert [one for one in named if one not in own] == [], name


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_the_list_has_all_private_attributes_that_our_class_inherits(cls: type):
    own = [one for one in cls.__mro__ if one.__module__.startswith("mirepoix.")]
    used, made = set(), {name for one in own for name in vars(one)}
    for one in own:
        for node in ast.walk(ast.parse(source(one) or "...")):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Call):
                is_super = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super"
                if is_super or getattr(node.value, "id", "") == "self":
                    (made if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    listed = names_listed_for(cls)
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    assert sorted(private - made - listed) == []


def names_listed_for(cls: type) -> set[str]:
    """What is listed of the classes that *cls* inherits from."""
    paths = {f"{one.__module__}:{one.__name__.rpartition('.')[2]}" for one in cls.__mro__}
    return {name for path, names in taken().items() if path in paths for name in names} | {
        name for path, names in HOOKS.items() if path.rpartition(".")[0] in paths for name in names
    }


@pytest.mark.parametrize("module", LISTS, ids=lambda module: module.__name__)
def test_what_an_accessor_names_is_tested(module: Any):
    """Each private attribute that the file reads, sets or asks for by its name."""
    known = [TAKEN, *TAKEN_SINCE.values()]
    listed = {name for by_path in known for names in by_path.values() for name in names}
    listed |= {word for words in WORDS.values() for word in words}
    named = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            named.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            named.add(node.value)
        elif isinstance(node, ast.ImportFrom):
            named |= {alias.name for alias in node.names}
    private = {name for name in named if name.startswith("_") and not name.startswith("__")}
    assert sorted(private - listed) == []
    replaced = {
        target.attr
        for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8")))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    } - {"__class__"}
    assert sorted(replaced - listed) == []


def test_every_accessor_gives_a_reason():
    """A docstring of a sentence, for each function of the three lists."""
    for module in LISTS:
        own = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
        assert own
        assert [one.__name__ for one in own if not (one.__doc__ or "").strip().endswith((".", "``."))] == []


def test_no_other_file_reads_a_private_attribute():
    """ruff's SLF001 is allowed in the lists, and in one hook that makes an answer of requests."""
    root = Path(mirepoix.celery.private.__file__).parents[1]
    ignoring = [str(path.relative_to(root)) for path in root.rglob("*.py") if "SLF001" in path.read_text("utf-8")]
    assert ignoring == []


def test_a_request_class_that_celery_generates_reports_to_us(tmp_path: Path):
    """Celery makes a subclass for each task and defines both methods in it: `LedgerRequest` wraps them there."""
    app = Celery("shop", broker="memory://", set_as_current=False)

    @app.task(name="note", shared=False)
    def note(): ...

    pool, events = TaskPool(1, app=app), SimpleNamespace(enabled=False, send=None)
    made = create_request_cls(LedgerRequest, note, pool, "host", events, app=app)
    assert issubclass(made, LedgerRequest)
    methods = [vars(made)[name] for name in ("execute_using_pool", "on_success")]
    assert {method.__module__ for method in methods} == {"mirepoix.celery.request"}
    stock = create_request_cls(Request, note, pool, "host", events, app=app)
    assert parameters(vars(stock)["execute_using_pool"]) == ["pool", "**kwargs"]
    assert parameters(vars(stock)["on_success"]) == ["failed__retval__runtime", "**kwargs"]
    app.close()


def test_the_current_task_of_a_thread_is_on_the_stack():
    """`running_as` pushes what ``current_task`` reads."""
    from celery import current_task

    app = Celery("shop", broker="memory://", set_as_current=False)

    @app.task(name="note", shared=False)
    def note(): ...

    assert not current_task
    with mirepoix.celery.private.running_as(note, SimpleNamespace(id="1")):
        assert current_task.name == "note"
        assert note.request.id == "1"
    assert not current_task
    app.close()
