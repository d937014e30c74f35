"""Celery's message protocol in the ledger's form: what a message calls, its options, its envelope and its lease."""
