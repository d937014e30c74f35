"""Decide who may see and do what: users with roles, passwords, and the names that a trusted proxy gives.

A user is written as roles and, for those who log in here, a hash of the password: ``act,arguments scrypt$…``. Users
of a proxy need no hash. The name ``*`` stands for every other name that the proxy gives.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from mirepoix.errors import ConfigurationError

_COST = {"n": 2**14, "r": 8, "p": 1}
SALT, DIGEST = 16, 32
"""The lengths of a hash's parts in bytes."""
ANYBODY = "*"


class Role(StrEnum):
    """What a user may do. Every role includes ``view``, and ``administer`` includes all of them."""

    VIEW = "view"
    """See every page, without the arguments, results, messages and tracebacks of tasks."""
    ARGUMENTS = "arguments"
    """See arguments, results, messages and tracebacks, except what is hidden by name."""
    ACT = "act"
    """Decide about tasks, up to a cap, and about causes of failures."""
    ADMINISTER = "administer"
    """Decide about any number of tasks, and kill running ones."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with roles. *name* is recorded with each decision. Raises ConfigurationError for other types."""

    name: str
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        is_known = isinstance(self.roles, frozenset) and all(isinstance(role, Role) for role in self.roles)
        if not isinstance(self.name, str) or not self.name or not is_known:
            raise ConfigurationError("A User has a name, which is recorded with decisions, and a frozenset of Role.")

    def may(self, role: Role) -> bool:
        """Return whether the user has the role."""
        return role is Role.VIEW or role in self.roles or Role.ADMINISTER in self.roles


@dataclass(frozen=True)
class Access:
    """Who may come in. *users* are roles and hashes by name, *tokens* roles by a secret that a link may hold."""

    users: Mapping[str, str]
    tokens: Mapping[str, User]
    proxy_header: str | None = None
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, written in self.users.items():
            _parsed(name, written)
        if self.proxy_header and not self.trusted_proxies:
            raise ConfigurationError(
                "mirepoix_dashboard_proxy_header needs mirepoix_dashboard_trusted_proxies: the addresses of the "
                "proxies that may name users, e.g. ('127.0.0.1',). Anybody else could send that header."
            )
        if self.trusted_proxies:
            self._networks  # noqa: B018 (read, so that a wrong address is an error now)

    @cached_property
    def _networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        try:
            return tuple(ipaddress.ip_network(text, strict=False) for text in self.trusted_proxies)
        except ValueError as error:
            raise ConfigurationError(f"mirepoix_dashboard_trusted_proxies names no address: {error}.") from error

    @property
    def has_credentials(self) -> bool:
        """Whether anybody can be known by something that others do not have."""
        return bool(self.tokens or self.proxy_header or any(" " in written for written in self.users.values()))

    @property
    def has_login(self) -> bool:
        """Whether anybody can log in with a name and a password."""
        return any(" " in written for written in self.users.values())

    def is_trusted(self, address: str | None) -> bool:
        """Return whether requests from that address come from a trusted proxy."""
        if address is None or not self.trusted_proxies:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)

    def named(self, name: str) -> User | None:
        """Return the user that a session names; None if there is none any more."""
        token_users = {user.name: user for user in self.tokens.values()}
        if name in self.users and name != ANYBODY:
            return User(name, _parsed(name, self.users[name])[0])
        return token_users.get(name)

    def stamp(self, name: str) -> str:
        """Return a digest of the user's password hash or token. It changes with them."""
        secret = self.users.get(name) or next((token for token, user in self.tokens.items() if user.name == name), "")
        return hashlib.sha256(f"stamp:{name}:{secret}".encode()).hexdigest()[:32]

    def of_proxy(self, name: str) -> User | None:
        """Return the user that a trusted proxy names."""
        written = self.users.get(name, self.users.get(ANYBODY))
        return None if not name or name == ANYBODY or written is None else User(name, _parsed(name, written)[0])

    def of_token(self, token: str) -> User | None:
        """Return the user of a token. Takes as long for a wrong token."""
        found = None
        for known, user in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = user
        return found

    def of_password(self, name: str, password: str) -> User | None:
        """Return the user with that password. Takes as long for a name that nobody has."""
        written = self.users.get(name, "")
        hash_ = written.partition(" ")[2] or _NOBODY
        is_right = verifies(hash_, password)
        return self.named(name) if is_right and " " in written else None


def hashed(password: str) -> str:
    """Return a salted hash of *password*, for the setting ``dashboard_users``."""
    salt = secrets.token_bytes(SALT)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(_scrypt(password, salt)).decode()}"


def verifies(hash_: str, password: str) -> bool:
    """Return whether *hash_* is that of *password*."""
    _, salt, known = hash_.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(known))


def roles_of(text: str) -> frozenset[Role]:
    """Read roles with commas between them. Raises ValueError."""
    return frozenset(Role(word.strip()) for word in text.split(",")) | {Role.VIEW}


def _scrypt(password: str, salt: bytes) -> bytes:
    # Without the digest "a" and "a\\0" would have the same hash, because HMAC pads a short key with zeros.
    return hashlib.scrypt(hashlib.sha256(password.encode()).digest(), salt=salt, **_COST, dklen=DIGEST)


def _parsed(name: str, written: str) -> tuple[frozenset[Role], str]:
    words, _, hash_ = written.partition(" ")
    try:
        roles = roles_of(words)
    except ValueError:
        known = ", ".join(Role)
        raise ConfigurationError(
            f"mirepoix_dashboard_users[{name!r}] must begin with roles ({known}), with commas between them."
        ) from None
    if hash_ and not _is_hash(hash_):
        raise ConfigurationError(
            f"mirepoix_dashboard_users[{name!r}] has no hash of a password after its roles. "
            "Make one: mirepoix dashboard --hash-password."
        )
    return roles, hash_


def _is_hash(text: str) -> bool:
    kind, _, rest = text.partition("$")
    try:
        salt, known = (base64.b64decode(part, validate=True) for part in rest.split("$"))
    except ValueError:
        return False
    return kind == "scrypt" and len(salt) == SALT and len(known) == DIGEST


_NOBODY = hashed(secrets.token_hex())
"""The hash that a name without a user is compared with, so that the time does not tell which names exist."""
