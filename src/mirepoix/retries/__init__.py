"""Retry policies: which errors are retried, when, and how often. Nothing is sent or written here."""
