"""Celery's own integration suite, run with Mirepoix as its broker and its result backend."""
