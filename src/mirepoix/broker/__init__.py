"""Delivery by the app's own broker: its messages notify workers of tasks that are in the ledger."""
