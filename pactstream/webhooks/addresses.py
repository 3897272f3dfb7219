"""Which addresses may be called: public ones. Everything else may be our own network, seen from inside.

A name is looked up for each connection, every address it has is checked, and the connection goes to one of the
addresses that were checked: a name that changes its mind between check and connection (DNS rebinding) gains
nothing. TLS and the Host header keep the name.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from pactstream.errors import InvalidInput

MAX_URL_CHARS: Final = 2_048

# Prefixes in which an IPv6 address stands for an IPv4 one: translated, it may be anybody's.
_EMBEDDING: Final = tuple(
    map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"))
)
# Global by their registry, or by Python's copy of it, and yet no single host: anycast of one's own NAT
# (PCP, RFC 7723) and of 6to4 relays, site-local (RFC 3879), documentation (RFC 9637).
_NOBODY: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20")))


class AddressRefused(InvalidInput):
    """A target that is not called: not public, not https, or malformed."""


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Raise `AddressRefused` unless `url` may be a webhook's: https, a host, nothing secret, nothing private.

    A name is not looked up here: what it resolves to is checked whenever it is called.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the URL is malformed") from None
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise AddressRefused(f"the URL has at most {MAX_URL_CHARS} printable ASCII characters")
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise AddressRefused("the URL must begin with https://")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("the URL has a host, and neither credentials nor a fragment")
    if port == 0:
        raise AddressRefused("the URL's port is out of range")
    if not allow_private:
        _check_literal(parts.hostname)


def is_public(address: str) -> bool:
    """Whether an IP address is one that the public Internet routes to a single host."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif any(parsed in network for network in _EMBEDDING):
            return False
    if any(parsed in network for network in _NOBODY):
        return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


class PublicResolver(AbstractResolver):
    """Looks names up, and refuses a name that has any address that is not public."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`, all of them checked. Raises `AddressRefused`, `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = [(kind, str(where[0])) for kind, _, _, _, where in found]
        if not self._allow_private and not all(is_public(address) for _, address in addresses):
            raise AddressRefused("the host is not, or not only, at public addresses")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _check_literal(host: str) -> None:
    """Refuse a host that is an address and not public, in whatever way it is written."""
    host = host.removesuffix(".")
    if "" in host.split(".") and ":" not in host:
        raise AddressRefused("the host is malformed")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise AddressRefused("the host is not public")
    # A name's last label is never a number; what looks like one is an address, perhaps in an old spelling
    # (0x7f.1, 2130706433), which some resolvers understand.
    last = host.rpartition(".")[2]
    if (":" in host or last.isdigit() or last.startswith("0x")) and not is_public(host):
        raise AddressRefused("the host is not public")
