"""Where a server may listen without a token: nowhere but on this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address; any other name is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(host_header: str) -> str:
    """Return the host in a Host header without its port, or "" where it makes no sense."""
    try:
        return urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return ""
