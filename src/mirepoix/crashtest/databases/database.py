"""The interface between the tester and a database."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from mirepoix.crashtest.normalise import Rows, Table
from mirepoix.crashtest.points import Delivery


class Database(Protocol):
    """A state that can be read and restored. Tables are named ``<alias>.<table>``."""

    @property
    def name(self) -> str:
        """The name of the state, for people."""

    @property
    def takes_two(self) -> bool:
        """Whether two deliveries can work in it at the same time."""

    @property
    def unkillable(self) -> str:
        """Why a process that works in it cannot be killed, and the remedy, as sentences. Empty if it can be killed."""

    def save(self) -> None:
        """Save the current state."""

    def restore(self) -> None:
        """Restore the saved state."""

    def begin(self, delivery: Delivery) -> None:
        """Prepare for a delivery."""

    def crashed(self) -> None:
        """Close the connections of a dead process."""

    def disconnect(self) -> None:
        """Close connections that a child process would share. They are opened again when they are used."""

    def beside(self) -> AbstractContextManager[None]:
        """Surround a delivery in its own thread."""

    def tables(self, written: set[str]) -> dict[str, Table]:
        """Describe the tables among *written* that are in this database."""

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        """Return the rows of those *tables* that are in this database."""


class Found:
    """The common part of states that the tester finds through the task's own connections."""

    @property
    def unkillable(self) -> str:
        return ""

    def save(self) -> None:
        """Do nothing: no place is known yet."""

    def begin(self, delivery: Delivery) -> None:
        """Do nothing."""

    def beside(self) -> AbstractContextManager[None]:
        """Do nothing: the delivery opens its own connections."""
        return nullcontext()
