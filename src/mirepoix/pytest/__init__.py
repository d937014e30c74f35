"""Fixtures for pytest: ``pytest_plugins = ["mirepoix.pytest.django"]`` in ``conftest.py``."""
