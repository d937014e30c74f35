"""What the tester asks of a database."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from mirepoix.crashtest.normalise import Rows, Table
from mirepoix.crashtest.points import Delivery


class Database(Protocol):
    """A state that can be read and put back. Tables are named ``<alias>.<table>``."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def takes_two(self) -> bool:
        """Whether two deliveries can work in it at the same time."""

    @property
    def unkillable(self) -> str:
        """Why a process that works in it cannot be killed, and the remedy, as sentences; empty if it can."""

    def save(self) -> None:
        """Keep the state as it is."""

    def restore(self) -> None:
        """Put back what was kept."""

    def begin(self, delivery: Delivery) -> None:
        """A delivery begins."""

    def crashed(self) -> None:
        """The connections of a dead process are gone."""

    def disconnect(self) -> None:
        """Close what a child process would share; it is opened again where it is used."""

    def beside(self) -> AbstractContextManager[None]:
        """Around a delivery in a thread of its own."""

    def tables(self, written: set[str]) -> dict[str, Table]:
        """How the tables among *written* that are here are built."""

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        """The rows of those of *tables* that are here."""


class Found:
    """What states have in common that the tester comes to know by the task's own connections, as the task uses them."""

    @property
    def unkillable(self) -> str:
        """Nothing: a child process connects again."""
        return ""

    def save(self) -> None:
        """Nothing is known yet."""

    def begin(self, delivery: Delivery) -> None:
        """A delivery begins."""

    def beside(self) -> AbstractContextManager[None]:
        """Around a delivery in a thread of its own: it has connections of its own."""
        return nullcontext()
