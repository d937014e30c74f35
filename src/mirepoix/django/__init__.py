"""The Django app: ``INSTALLED_APPS += ["mirepoix.django"]`` lets ``manage.py migrate`` make the ledger's tables."""
