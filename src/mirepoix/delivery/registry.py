"""Where kombu finds the ledger: the URL that stands for it, its transport, and the installations of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from mirepoix.delivery.host import Host

LEDGER_URL = "mirepoix://"
"""What stands in the place of a broker's URL where the ledger delivers."""

INSTALLATIONS: WeakValueDictionary[str, Host] = WeakValueDictionary()
"""Every installation of this process, by the token that its app's transport options hold. Those are shown to people,
sent to every program that inspects the worker, and compared: they can hold no object."""

TRANSPORT_ALIASES.setdefault("mirepoix", "mirepoix.kombu.transport:Transport")
