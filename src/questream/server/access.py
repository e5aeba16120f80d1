"""Logins and their roles for each namespace, from bearer tokens or from the headers of a trusted proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from questream.errors import SettingsError
from questream.server.tokens import TokenFile
from questream.settings import ServeSettings

COOKIE = "questream_token"
ANY_NAMESPACE = "*"
_MOST_NAME_CHARACTERS = 128


class Role(IntEnum):
    """The rights of a login; each role includes those before it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @classmethod
    def parse(cls, text: str) -> Role:
        """The role of this name. Raises ValueError if there is none."""
        found = cls.__members__.get(text.strip().upper())
        if found is None:
            raise ValueError("a role is one of viewer, operator, admin")
        return found


@dataclass(frozen=True, slots=True)
class Login:
    """A user with a name and a role for each namespace; `*` means all of them."""

    name: str
    grants: Mapping[str, Role]
    viewers_read_texts: bool = False

    def may(self, role: Role, namespace: str = ANY_NAMESPACE) -> bool:
        """True if this login has at least this role in a namespace; by default in all of them."""
        return max(self.grants.get(namespace, 0), self.grants.get(ANY_NAMESPACE, 0)) >= role

    def reads_texts(self, namespace: str = ANY_NAMESPACE) -> bool:
        """True if this login may read the texts of questions of a namespace; by default of all of them."""
        return self.may(Role.VIEWER if self.viewers_read_texts else Role.OPERATOR, namespace)


class NotLoggedIn(Exception):
    """A request says not who asks, or says it with a token that is not known."""


class Access:
    """Finds the login of a request. Without tokens and a trusted proxy it is the user of this machine, an admin."""

    def __init__(self, settings: ServeSettings) -> None:
        """Raises SettingsError where other machines could ask and nobody would have to log in."""
        self._settings = settings
        self._tokens = None if settings.tokens_file is None else TokenFile(settings.tokens_file)
        self._proxies = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        if settings.user_header is not None and not settings.trusted_proxies:
            raise SettingsError(
                "serve.user_header is set, and serve.trusted_proxies names no proxy that it is believed of",
                "name the proxy's addresses",
            )
        if not self.needs_login and not is_loopback(settings.host):
            raise SettingsError(
                f"serve.host is {settings.host}, which other machines reach, and nobody would have to log in",
                "set serve.tokens_file (questream serve-token makes it), or serve.user_header behind a proxy that"
                " logs people in",
            )

    @property
    def needs_login(self) -> bool:
        """True if a request needs credentials."""
        return self._tokens is not None or self._settings.user_header is not None

    @property
    def has_tokens(self) -> bool:
        """True if there are tokens to log in with."""
        return self._tokens is not None

    def login_of(self, headers: Mapping[str, str], cookies: Mapping[str, str], peer: str) -> Login:
        """The login of a request; `peer` is the address that it came from. Raises NotLoggedIn."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            return self._by_token(token.strip() if scheme.lower() == "bearer" else "")
        if self._settings.user_header is not None and self.is_trusted_proxy(peer):
            user = headers.get(self._settings.user_header.lower(), "").strip()
            if user:
                return self._by_proxy(user, headers)
        if COOKIE in cookies:
            return self._by_token(cookies[COOKIE])
        if self.needs_login:
            raise NotLoggedIn
        return self._login("local", {ANY_NAMESPACE: Role.ADMIN})

    def is_trusted_proxy(self, peer: str) -> bool:
        """True if the identity headers from this address are trusted."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _by_token(self, token: str) -> Login:
        known = None if self._tokens is None else self._tokens.find(token)
        if known is None:
            raise NotLoggedIn
        return self._login(known.name, {name: Role.parse(role) for name, role in known.grants.items()})

    def _by_proxy(self, user: str, headers: Mapping[str, str]) -> Login:
        header = "" if self._settings.role_header is None else headers.get(self._settings.role_header.lower(), "")
        try:
            grants = parse_grants(header) if header else {ANY_NAMESPACE: Role.VIEWER}
        except ValueError:
            raise NotLoggedIn from None
        return self._login(user[:_MOST_NAME_CHARACTERS], grants)

    def _login(self, name: str, grants: Mapping[str, Role]) -> Login:
        return Login(name, grants, self._settings.viewers_read_texts)


def parse_grants(text: str) -> dict[str, Role]:
    """`operator`, or `shop:operator,*:viewer`, as roles by namespace. Raises ValueError."""
    grants = {}
    for part in text.split(","):
        namespace, colon, role = part.strip().rpartition(":")
        grants[namespace if colon else ANY_NAMESPACE] = Role.parse(role)
    return grants


def is_loopback(host: str) -> bool:
    """True if only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
