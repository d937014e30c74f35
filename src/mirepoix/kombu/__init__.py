"""Delivery by the ledger: a kombu transport, ``mirepoix://``."""
