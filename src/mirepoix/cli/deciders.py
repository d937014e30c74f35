"""Who decides: to be kept beside what was decided."""

from __future__ import annotations

import getpass
import os
import socket

from mirepoix.cli.format import one_line


def somebody(given: str | None) -> str:
    """Who decides: as they say, else the user and host of the command."""
    return one_line(given) or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"
