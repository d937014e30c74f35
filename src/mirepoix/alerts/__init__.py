"""Notify people once of each condition: find it, open an alert, deliver it, close it."""
