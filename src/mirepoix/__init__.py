"""Mirepoix: reliable Celery."""
