"""Celery's own extension points, one file each."""
