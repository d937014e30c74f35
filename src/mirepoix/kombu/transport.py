"""The ledger's transport. It runs in Celery's event loop, or pools without an event loop drain it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import finalize

from kombu.transport import virtual
from kombu.transport.virtual.base import Transport as VirtualTransport

from mirepoix.config import FLUSH_AFTER_S
from mirepoix.connect import ambient
from mirepoix.connect.dropped import close_when_dropped
from mirepoix.connect.source import BOUND_S, OwnConnection
from mirepoix.connect.verdict import first_line
from mirepoix.delivery import private
from mirepoix.delivery.flusher import Flusher
from mirepoix.delivery.registry import INSTALLATIONS
from mirepoix.delivery.wakeup import WakeupPipe
from mirepoix.errors import ConfigurationError, LedgerAway
from mirepoix.kombu.channel import Channel
from mirepoix.ledger.tx import Tx

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases

LOOK_AGAIN_FIRST_S = 0.001
LOOK_AGAIN_LAST_S = 0.1
"""When a transaction notifies before its commit can be seen, the worker looks again after 1, 2, 4 … 64 ms. After that
only the poll finds the commit."""

QUIET_AFTER_S = 5.0
QUIET_FACTOR = 2.5
"""Where the database sends no notifications, a worker polls. After `QUIET_AFTER_S` without news, the interval is
`QUIET_FACTOR` times as long."""

SHUTDOWN_LOOK_S = 0.25
"""How long a worker without an event loop waits before it checks whether it must stop."""


class Transport(VirtualTransport):  # type: ignore[misc]
    """One connection of a worker or a client. If the database is lost it raises, and Celery connects again."""

    Channel = Channel
    driver_type = "mirepoix"
    driver_name = "mirepoix"
    can_parse_url = True
    connection_errors = (*VirtualTransport.connection_errors, LedgerAway)
    default_port = None
    implements = virtual.Transport.implements.extend(
        asynchronous=True, exchange_type=frozenset(["direct", "topic", "fanout"]), heartbeats=False
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._token = (client.transport_options or {}).get("ledger", "")
        self.fanout_of: dict[str, str] = {}
        """The exchange of each queue that receives broadcasts. A channel that replaces another reads them here."""
        self.positions: dict[str, int] = {}
        """The position up to which each of these queues has been read."""
        self._own: OwnConnection | None = None
        self._at_drop: finalize[..., Any] | None = None
        self._loop: Any = None
        self._timers: list[Any] = []
        self._flusher = Flusher(self._flush)
        self._again: Any = None
        self._poll_timer: Any = None
        self._limit_timer: Any = None
        self._looks_at_limits = 0
        self._news_at = 0.0
        self._wakeup: WakeupPipe | None = None
        self._has_messages = True

    @property
    def installation(self) -> Any:
        """The installation of this ledger. Raises ConfigurationError if something else than its app opened the URL."""
        found = INSTALLATIONS.get(self._token)
        if found is None:
            raise ConfigurationError(
                "mirepoix:// cannot be opened by its URL. Only the app that Mirepoix is installed on opens it."
            )
        return found

    @property
    def own(self) -> OwnConnection:
        """The connection that takes deliveries. It is opened at the first access."""
        if self._own is None:
            with self.reaching():
                own = self.installation.source.open(BOUND_S)
                try:
                    own.listen()  # a standby server refuses this
                except BaseException:
                    own.close()
                    raise
                self._own, self._at_drop = own, close_when_dropped(self, [own])
        return self._own

    @property
    def _look_interval_s(self) -> float:
        installation = self.installation
        return float(installation.settings.look_interval_s(installation.source.dialect))

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn the driver's errors into `LedgerAway`, for which Celery connects again: no worker ends.

        Celery reads these errors from the transport's class, before the driver is known.
        """
        try:
            yield
        except self.installation.source.errors as error:
            raise LedgerAway(first_line(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A short transaction for what is no delivery and no task. Other connections see its writes at once."""
        source = self.installation.source
        try:
            with ambient.outside(source) as tx:
                yield tx
        except source.disconnects as error:
            raise LedgerAway(first_line(error)) from error

    @contextmanager
    def callers_transaction(self) -> Iterator[Tx]:
        """The caller's transaction, or a short one if the caller has none."""
        source, enclosing = self.installation.source, ambient.current()
        if isinstance(enclosing, ambient.Direct):
            yield enclosing.tx
            return
        try:
            with source.transaction() as tx:
                yield tx
        except source.disconnects as error:
            raise LedgerAway(first_line(error)) from error

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A transaction that only reads, and waits for no writer."""
        with self.reaching(), self.installation.source.reading() as tx:
            yield tx

    @property
    def leases(self) -> Leases | None:
        """The leases of this process' worker; None if it is no worker."""
        worker = self.installation.worker
        return None if worker is None else worker.leases

    def driver_version(self) -> str:
        """The database that replaces a broker."""
        return str(self.installation.source.dialect)

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """The ledger's label, for the worker's banner and its logs."""
        # Celery also calls this without an app, to show its configuration.
        return str(self.installation.source.label) if self._token in INSTALLATIONS else uri

    def establish_connection(self) -> Any:
        """Open the database, so that an unreachable ledger raises here."""
        self.own  # noqa: B018
        return super().establish_connection()

    def close_connection(self, connection: Any) -> None:
        """Close the connection. Leases that were not handed over go back; completions stay with the worker."""
        self._leave_loop()
        super().close_connection(connection)
        if self._own is not None:
            if self._at_drop is not None:
                self._at_drop.detach()
            self._own.close()
            self._own = None

    # ---- in Celery's event loop: prefork, threads, solo

    @property
    def has_loop(self) -> bool:
        """Whether Celery's event loop runs this connection."""
        return self._loop is not None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let the database's notifications wake the loop; where it sends none, let timers do so."""
        self._leave_loop()
        self._loop = loop
        loop.on_tick.add(self._on_tick)
        self._wakeup = WakeupPipe(loop)
        if self.leases is not None:
            self.leases.wake_consumer = self._wakeup.wake
        settings = self.installation.settings
        fd = self.own.wakeup_fd()
        if fd is None:
            self._poll()
        else:
            loop.add_reader(fd, self._look)
        self._timers.append(loop.call_repeatedly(settings.poll_interval_s, self._expect_anything))

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        # Celery's hub keeps on_tick over a reconnect: the old connection's must not stay.
        loop.on_tick.discard(self._on_tick)
        for timer in (*self._timers, self._again, self._poll_timer, self._limit_timer):
            if timer is not None:
                timer.cancel()
        self._timers, self._again, self._poll_timer, self._limit_timer = [], None, None, None
        self._flusher.cancel()
        with contextlib.suppress(Exception):
            loop.remove_reader(self._own.wakeup_fd() if self._own is not None else -1)
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None

    def _poll(self) -> None:
        """Look for news where the database sends no notifications.

        Each look costs a turn of Celery's loop, so looks are rarer after a quiet time.
        """
        self._look()
        is_quiet = time.monotonic() - self._news_at > QUIET_AFTER_S
        interval_s = self._look_interval_s * (QUIET_FACTOR if is_quiet else 1.0)
        if self._loop is not None:
            self._poll_timer = self._loop.call_later(interval_s, self._poll)

    def _look(self) -> None:
        """Look for what was written. Perhaps it is a commit that cannot be seen yet, or a commit of our own."""
        self._stop_looking()
        self._is_news()
        if self.own.is_told_early:  # this look may have seen an earlier commit, and has used the notification up
            self._look_later(LOOK_AGAIN_FIRST_S)

    def _look_again(self, after_s: float) -> None:
        self._again = None
        if self._is_news():
            self._look_later(LOOK_AGAIN_FIRST_S)
        elif 2 * after_s <= LOOK_AGAIN_LAST_S:
            self._look_later(2 * after_s)

    def _look_later(self, after_s: float) -> None:
        if self._loop is not None:
            self._again = self._loop.call_later(after_s, self._look_again, after_s)

    def _stop_looking(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _is_news(self) -> bool:
        with self.reaching():
            news = self.own.news()
        if "tasks" in news:
            self._expect_tasks()
        if "messages" in news:
            self._has_messages = True
        if news:
            self._news_at = time.monotonic()
        return bool(news)

    def _heed_notified(self) -> None:
        """Turn again if a notification came with the answer to a statement: nothing else would report it."""
        if self._own is not None and self._own.has_notified and self._is_news():
            self._wake()

    def _expect_anything(self) -> None:
        self._has_messages = True
        self._expect_tasks()

    def _expect_tasks(self) -> None:
        for channel in self.channels:
            channel.may_have_more = True

    def _on_tick(self) -> None:
        delivered = self._round()
        self._heed_notified()
        leases = self.leases
        if leases is None:
            return
        self._flusher.flush_soon(leases, self._loop)
        if delivered or any(channel.has_work() for channel in self.channels):
            # The pool writes to its processes in its own part of the tick, which may have run before ours.
            self._wake()
        self._look_at_limits_later(leases)

    def _look_at_limits_later(self, leases: Leases) -> None:
        """Turn again at once if the look at the limits goes on, or when the next look is due."""
        limited = leases.limited
        look_in_s = limited.look_in_s
        if look_in_s is None:
            return
        if look_in_s > 0:
            if self._limit_timer is None and self._loop is not None:
                self._limit_timer = self._loop.call_later(look_in_s, self._look_at_limits)
        elif limited.looks != self._looks_at_limits:
            self._looks_at_limits = limited.looks
            self._wake()

    def _look_at_limits(self) -> None:
        self._limit_timer = None
        self._wake()

    def _flush(self) -> None:
        if self.leases is not None:
            has_parts = self.leases.completions.has_parts
            with self.reaching():
                self.leases.flush(self.own)
            if has_parts:
                # The flush may have sent the body of a chord. No notification comes for what this connection wrote.
                self._expect_tasks()
                self._wake()
            self._heed_notified()

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.wake()

    # ---- without an event loop: gevent, eventlet, and clients that wait for a reply

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Wait until something is delivered. Raises socket.timeout after *timeout* seconds."""
        if self.leases is not None:
            # A worker checks whether it must stop each time this returns. A client waits for a reply.
            timeout = min(timeout or SHUTDOWN_LOOK_S, SHUTDOWN_LOOK_S)
        until = None if timeout is None else time.monotonic() + timeout
        self._expect_anything()
        while not self._round():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise socket.timeout  # noqa: UP041  (what kombu's callers catch)
            self._wait(left)

    def _wait(self, left: float | None) -> None:
        settings = self.installation.settings
        leases = self.leases
        fd = self.own.wakeup_fd()
        has_to_poll = fd is None or self.own.is_told_early
        pause = self._look_interval_s if has_to_poll else settings.poll_interval_s
        if leases is not None:
            pause = min(pause, FLUSH_AFTER_S if leases.completions else 0.05)
        if left is not None:
            pause = min(pause, left)
        if self.own.has_notified:
            pause = 0.0
        if fd is None:
            time.sleep(pause)
        else:
            select.select([fd], [], [], pause)
        self._look()
        if leases is not None:
            with self.reaching():
                leases.flush(self.own, older_than_s=FLUSH_AFTER_S)
            for channel in self.channels:  # a greenlet may have freed a place without a notification
                channel.may_have_more = channel.may_have_more or not channel.buffer

    # ---- both

    def _round(self) -> int:
        with self.reaching():
            return self._deliveries()

    def _deliveries(self) -> int:
        delivered = 0
        leases = self.leases
        if self._has_messages:  # before tasks, so that a revocation arrives before its task
            self._has_messages = False
            for channel in list(self.channels):
                if private.has_consumers(channel):
                    delivered += channel.receive_messages()
        if leases is not None:
            for channel in list(self.channels):
                if private.has_consumers(channel):
                    delivered += channel.receive_tasks(leases)
        return delivered
