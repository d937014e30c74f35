"""The table of which each tenant has one."""

from django.db import models


class Note(models.Model):
    """Who wrote it."""

    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return its text."""
        return self.text
