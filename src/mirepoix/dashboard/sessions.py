"""Keep who is logged in, in a signed cookie, and make the tokens that a form must send back.

The cookie holds a random id, a name and the time of the login, with an HMAC over them. It cannot be changed or made
without the secret. At a login the id is new, so an id from before the login is worth nothing after it. A logout also
makes the id invalid in this process.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

COOKIE = "mirepoix_session"
LASTS_S = 12 * 3600
"""How long a login is good for."""

MOST_ENDED = 10_000
"""The most sessions that are remembered as ended."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. *name* is empty before a login.

    *stamp* stands for the password or the link by which the user logged in. Another password ends the session.
    """

    id: str
    name: str
    began_at: int
    stamp: str = ""


class Sessions:
    """Signs and reads the sessions of one site."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"mirepoix dashboard:" + secret.encode()).digest()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def new(self, name: str = "", stamp: str = "") -> Session:
        """Return a session with an id that nobody has seen."""
        return Session(secrets.token_urlsafe(24), name, int(time.time()), stamp)

    def written(self, session: Session) -> str:
        """Return the cookie's value."""
        plain = json.dumps([session.id, session.name, session.began_at, session.stamp], separators=(",", ":")).encode()
        body = base64.urlsafe_b64encode(plain).decode().rstrip("=")
        return f"{body}.{self._mac('session', body)}"

    def read(self, value: str | None) -> Session | None:
        """Return the session of a cookie's value; None if it is not ours, too old or ended."""
        body, dot, mac = (value or "").partition(".")
        if not dot or not hmac.compare_digest(mac.encode(), self._mac("session", body).encode()):
            return None
        try:
            found = Session(*json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        except (ValueError, TypeError, binascii.Error):
            return None
        is_old = not 0 <= time.time() - found.began_at < LASTS_S
        return None if is_old or found.id in self._ended else found

    def end(self, session: Session) -> None:
        """Make the session invalid."""
        with self._lock:
            self._ended[session.id] = None
            while len(self._ended) > MOST_ENDED:
                self._ended.popitem(last=False)

    def form_token(self, session: Session, user: str) -> str:
        """Return the token that every form of this session must send. It is worth nothing to another user."""
        return self._mac("form", json.dumps([session.id, session.name, user]))

    def fits(self, session: Session, user: str, token: str) -> bool:
        """Return whether *token* is the session's own, for that user."""
        return hmac.compare_digest(token.encode(), self.form_token(session, user).encode())

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
