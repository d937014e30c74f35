"""How PostgreSQL is to run the looks of people: at once, without compiling them."""

from __future__ import annotations

from mirepoix.ledger.tx import Tx


def at_once(tx: Tx) -> None:
    """Compile nothing in this transaction. On 100,000 waiting tasks that took longer (0.2 s) than what it was for."""
    if tx.dialect == "postgresql":
        tx.query("SELECT set_config('jit', 'off', true)")
