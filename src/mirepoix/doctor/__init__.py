"""The checks of ``mirepoix doctor``: a Celery app's configuration, its broker, its ledger and how it is deployed."""
