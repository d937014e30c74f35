"""Retry policies: which errors are worth another try, when, and how often. Nothing is sent or written here."""
