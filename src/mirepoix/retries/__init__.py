"""Retry policies: which errors are worth another try, when, and how often. Arithmetic only: nothing is sent or written."""
