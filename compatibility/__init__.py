"""The promised versions of Celery and Python, each in an environment of its own: ``scripts/compatibility``."""
