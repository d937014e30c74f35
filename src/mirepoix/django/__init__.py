"""Mirepoix in a Django project: ``INSTALLED_APPS += ["mirepoix.django"]``."""
