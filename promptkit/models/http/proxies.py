"""Finds the proxy that environment variables set for an address, for the errors of a connection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import proxy_bypass


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that an environment variable names."""

    variable: str
    """The environment variable."""
    address: str
    """The proxy's address without user name and password."""


def proxy_for(url: str) -> Proxy | None:
    """Returns the proxy that the environment sets for an address, or None if the connection is direct."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    for scheme in (parts.scheme, "all"):
        for variable in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            if value := os.environ.get(variable):
                return Proxy(variable, _without_password(value))
    return None


def _without_password(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
