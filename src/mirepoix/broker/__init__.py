"""Delivery by the app's own broker: its messages ring for tasks that are in the ledger."""
