"""Check whether messages still wait in the broker that an app had before its ledger. No worker of the app takes them.

Each check has a time limit, and changes nothing in the broker.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kombu import Connection
from kombu.exceptions import KombuError

from mirepoix.broker.publisher import COUNTING
from mirepoix.broker.redis_lists import RedisLists
from mirepoix.delivery.host import Host
from mirepoix.delivery.registry import LEDGER_URL
from mirepoix.errors import BrokerAway

logger = logging.getLogger("mirepoix.worker")

CONNECT_S = 1.0
BOUND_S = 2.0
"""How long `seen` waits for all its answers."""

DRAIN = "celery -A YOUR_APP mirepoix drain"
"""The command that moves the messages into the ledger."""


@dataclass(frozen=True, slots=True)
class FormerBroker:
    """The URLs and options of the broker that the app had before its ledger."""

    urls: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    ssl: Any = None
    login_method: str | None = None

    @property
    def label(self) -> str:
        """Its URLs without passwords."""
        return ";".join(map(without_password, self.urls))

    @contextmanager
    def connected(self, timeout_s: float) -> Iterator[Any]:
        """A connection that waits *timeout_s* for each answer. Raises BrokerAway, also for errors inside the block."""
        try:
            connection = Connection(
                list(self.urls),
                ssl=self.ssl,
                login_method=self.login_method,
                connect_timeout=timeout_s,
                transport_options={**self.options, **_timeouts(self.urls[0], timeout_s)},
            )
            transport = connection.transport
        except (ImportError, KeyError) as error:  # its library is not installed, or there is no transport of that name
            raise BrokerAway(self.label, error) from error
        try:
            if len(self.urls) == 1:
                _knock(connection, timeout_s)
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=timeout_s)
            yield connection
        except (*transport.connection_errors, *transport.channel_errors, KombuError, OSError) as error:
            raise BrokerAway(self.label, error) from error
        finally:
            with suppress(Exception):
                connection.release()


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages the broker has in one queue."""

    queue: str
    messages: int
    unacknowledged: int = 0
    """How many messages of this queue workers have received and not acknowledged. Only Redis reports it."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The queues of a broker that still have messages."""

    broker: str
    queues: tuple[Waiting, ...]
    others: tuple[Waiting, ...] = ()
    """Queues that were not asked about. Only Redis reports them, and only if `waiting` looks for them."""

    @property
    def sentences(self) -> list[str]:
        """A sentence for each queue, with the command that moves its messages."""
        return [*filter(None, map(self._sentence, self.queues)), *map(self._of_other, self.others)]

    def _of_other(self, found: Waiting) -> str:
        return (
            f"{_count(found.messages)} in the queue {found.queue!r} on {self.broker}, which the settings of this app "
            f"do not name. If its tasks are this app's, move them into the ledger with: {DRAIN} -Q {found.queue}"
        )

    def _sentence(self, found: Waiting) -> str:
        sentences = []
        if found.messages:
            sentences.append(
                f"{_count(found.messages)} in the queue {found.queue!r} on {self.broker}, the broker that this app had "
                f"before its ledger. No worker of this app takes them. Move them into the ledger with: {DRAIN}"
            )
        if found.unacknowledged:
            where = "" if found.messages else f" {found.queue!r} on {self.broker}"
            sentences.append(
                f"{_count(found.unacknowledged, 'is', 'are')} with workers that took them from the queue{where} and "
                "have not acknowledged them. If no such worker runs any more, move them into the ledger with: "
                f"{DRAIN} --unacknowledged"
            )
        return ". ".join(sentences)


def of(installation: Host) -> FormerBroker | None:
    """The broker that the app's settings still name. None if they name none, or if the app still uses it."""
    if installation.delivery == "broker":
        return None
    conf = installation.app.conf
    found = os.environ.get("CELERY_BROKER_READ_URL") or installation.former_url or conf.broker_url
    return at(installation, found)


def at(installation: Host, url: Any) -> FormerBroker | None:
    """The broker at *url*, with the app's options for its broker.

    As in kombu, *url* is one URL, several with semicolons between them, or a list.
    """
    several = url.split(";") if isinstance(url, str) else list(url or ())
    urls = tuple(str(each) for each in several if each and not str(each).startswith(LEDGER_URL))
    if not urls:
        return None
    conf = installation.app.conf
    return FormerBroker(urls, installation.former_options, conf.broker_use_ssl, conf.broker_login_method)


def queues_of(app: Any) -> tuple[str, ...]:
    """The names of the queues in the app's settings and tasks, without those of fanout exchanges."""
    known = app.amqp.queues
    names = dict.fromkeys(str(name) for name in known)
    for target in _static_routes(app.conf.task_routes):
        names.setdefault(str(getattr(target, "name", target)))
    for task in app.tasks.values():
        if queue := getattr(task, "queue", None):
            names.setdefault(str(getattr(queue, "name", queue)))
    return tuple(name for name in names if not _is_fanout(known.get(name)))


def waiting(
    former: FormerBroker, queues: Iterable[str], timeout_s: float = CONNECT_S, *, is_whole: bool = False
) -> Backlog:
    """What waits in *queues*; with *is_whole* also what waits in other queues, which takes longer.

    Empty for a broker that only estimates. Raises BrokerAway.
    """
    found: list[Waiting] = []
    others: list[Waiting] = []
    queues = tuple(queues)
    with former.connected(timeout_s) as connection:
        if connection.transport.driver_type in COUNTING:
            lists = RedisLists.of(connection.default_channel)
            unacknowledged = {} if lists is None else lists.unacknowledged()
            for queue in queues:
                messages = size(connection, queue) if lists is None else lists.count(queue)
                if messages or unacknowledged.get(queue):
                    found.append(Waiting(queue, messages, unacknowledged.get(queue, 0)))
            if lists is not None and is_whole:
                counts = {queue: lists.count(queue) for queue in sorted(lists.bound() - set(queues))}
                others = [Waiting(queue, messages) for queue, messages in counts.items() if messages]
    return Backlog(former.label, tuple(found), tuple(others))


def size(connection: Any, queue: str) -> int:
    """How many messages wait in *queue*; 0 if there is no such queue."""
    channel = connection.channel()  # the broker closes the channel if the queue does not exist
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        with suppress(Exception):
            channel.close()


def seen(installation: Host, bound_s: float = BOUND_S) -> Backlog | None:
    """What waits in the former broker; None if nothing does, it does not answer in time or must not be checked."""
    found: list[Backlog] = []
    looking = look(installation, found.append)
    if looking is not None:
        looking.join(bound_s)
    return found[0] if found else None


def look(installation: Host, then: Callable[[Backlog], None]) -> threading.Thread | None:
    """Check the former broker in a new thread, and call *then* with what waits there. None if there is none."""
    former = of(installation) if installation.settings.look_at_broker else None
    if former is None:
        return None

    def act() -> None:
        try:
            found = waiting(former, queues_of(installation.app))
            if found.queues:
                then(found)
        except Exception as error:  # noqa: BLE001 (the broker may no longer exist, and its library may raise anything)
            logger.debug("%s cannot be checked: %r", former.label, error)

    with suppress(Exception):  # imports the library here: while a worker forks, no other thread may be importing
        Connection(list(former.urls)).get_transport_cls()
    thread = threading.Thread(target=act, name="mirepoix-former-broker", daemon=True)
    thread.start()
    return thread


def without_password(url: str) -> str:
    """*url* without its password, and without its query, which may contain a password too."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    user, _, host = rest.rpartition("@")
    name = user.partition(":")[0]
    return f"{scheme}{separator}{f'{name}@' if name else ''}{host.partition('?')[0]}"


def _count(number: int, one: str = "waits", many: str = "wait") -> str:
    return f"1 message {one}" if number == 1 else f"{number:,} messages {many}"


def _timeouts(url: str, timeout_s: float) -> dict[str, float]:
    """The options of a timeout, for the transports of Redis and AMQP. Other transports would refuse them."""
    scheme = url.partition("://")[0].partition("+")[0]
    if scheme in ("redis", "rediss", "sentinel"):
        return {"socket_connect_timeout": timeout_s, "socket_timeout": timeout_s}
    if scheme in ("amqp", "amqps", "pyamqp"):
        return {"read_timeout": timeout_s, "write_timeout": timeout_s}
    return {}


def _knock(connection: Any, timeout_s: float) -> None:
    """Raise OSError if no server listens: clients of Redis would try for seconds."""
    port = connection.port or connection.transport.default_port
    host = str(connection.hostname or "127.0.0.1")
    if connection.transport.driver_type in ("amqp", "redis") and port and "/" not in host:  # else a socket in a file
        socket.create_connection((host, int(port)), timeout_s).close()


def _static_routes(routes: Any) -> Iterator[Any]:
    """The queues that ``task_routes`` names. Routers that are functions are left out."""
    for route in [routes] if isinstance(routes, Mapping) else routes if isinstance(routes, (list, tuple)) else []:
        pairs = route.items() if isinstance(route, Mapping) else [route] if isinstance(route, (list, tuple)) else []
        for pair in pairs:
            target = pair[1] if len(pair) > 1 else None
            queue = target.get("queue") if isinstance(target, Mapping) else target
            if queue and not callable(queue):
                yield queue


def _is_fanout(queue: Any) -> bool:
    exchange = getattr(queue, "exchange", None)
    return exchange is not None and exchange.type == "fanout"
