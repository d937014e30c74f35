"""The block that says which Celery app sends the tasks, by its import path or by the URL of its ledger."""

from __future__ import annotations

from typing import Any, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, SecretStr, model_validator

from mirepoix.celery.clients import client_by_path, client_on


class MirepoixCredentials(CredentialsBlock):
    """Where the tasks are sent: to the ledger of a Celery app. Give exactly one of `app` and `ledger_url`."""

    _block_type_name = "Mirepoix Credentials"
    _block_type_slug = "mirepoix-credentials"
    _description = "The ledger that Celery tasks are sent to, by the Celery app or by the ledger's URL."

    app: str | None = Field(
        default=None,
        title="Celery app",
        description="The import path of the Celery app. The process of the flow imports it, with its task routes.",
        examples=["shop.celery:app"],
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        title="Ledger URL",
        description="The ledger's database. The process of the flow needs no code of the Celery app. "
        "Task routes are not known: give the queue with the options of the task.",
        examples=["postgresql://user:password@host/database"],
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.app is None) == (self.ledger_url is None):
            raise ValueError("Give exactly one of app and ledger_url.")
        return self

    def get_client(self) -> Any:
        """The Celery app, on which Mirepoix is installed. Raises ConfigurationError if it is not."""
        if self.app is not None:
            return client_by_path(self.app)
        assert self.ledger_url is not None
        return client_on(self.ledger_url.get_secret_value(), "mirepoix.prefect")
