"""What kombu needs to find the ledger: its URL, its transport, and the installations of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from mirepoix.delivery.host import Host

LEDGER_URL = "mirepoix://"
"""What replaces the broker's URL when the ledger delivers."""

INSTALLATIONS: WeakValueDictionary[str, Host] = WeakValueDictionary()
"""Every installation of this process, by the token in its app's transport options. These options are printed, sent to
programs that inspect the worker, and compared, so they cannot contain the installation itself."""

TRANSPORT_ALIASES.setdefault("mirepoix", "mirepoix.kombu.transport:Transport")
