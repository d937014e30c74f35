"""Celery's message protocol as the ledger keeps it: what a message calls, its options, its envelope, its lease."""
