"""Which requests go through a proxy of the environment (`HTTP_PROXY` and the like), and which not.

A cluster sets these variables for the way out; a server on this machine is never reached that way.
So loopback addresses go straight to their server, and of the others what `NO_PROXY` names.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from importlib.util import find_spec
from typing import Any, NamedTuple

import httpx

from qwq_env.errors import UsageError

_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
_DIRECT = {"mounts": {"http://": None, "https://": None, "all://": None}}


class Proxy(NamedTuple):
    """The address of a proxy, and the variable of the environment that names it."""

    variable: str
    address: str

    def __str__(self) -> str:
        shown = httpx.URL(self.address).copy_with(username=None, password=None)
        return f"through the proxy {shown} of {self.variable}; NO_PROXY takes a host out of it"


def proxy_for(url: str, *, socks: bool = True) -> Proxy | None:
    """Return the proxy through which `url` is asked, None for a straight way.

    `NO_PROXY` is a list of hosts and domains, networks (`10.0.0.0/8`) and `*`. Raises `UsageError`
    for a proxy that is no address, and without `socks` (aiohttp knows none) for one of SOCKS.
    """
    target = httpx.URL(url)
    host = target.host.rstrip(".")
    if is_loopback(host) or _left_out(host, target.port):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        # HTTP_PROXY is a header of the caller's inside a CGI program (httpoxy), so not ours.
        upper = "" if name == "http_proxy" and "REQUEST_METHOD" in os.environ else name.upper()
        for variable in (name, upper):
            if address := os.environ.get(variable, "").strip():
                return Proxy(variable, _checked(variable, address, socks))
    return None


def route(url: str) -> dict[str, Any]:
    """Return the arguments that make an httpx client take the way to `url`."""
    proxy = proxy_for(url)
    trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    way: dict[str, Any] = _DIRECT if proxy is None else {"proxy": proxy.address}
    return {**way, "verify": trusted}


@functools.cache
def _trusted(file: str | None, directory: str | None) -> ssl.SSLContext:
    """Return the certificates that all clients trust; httpx would read them anew for each one,
    which takes 50 ms. The arguments are the variables of the environment that it goes by."""
    return httpx.create_ssl_context()


def way_to(url: str) -> str:
    """Return what an error adds where a proxy stands between, with a space in front, or ""."""
    proxy = proxy_for(url)
    return "" if proxy is None else f" ({proxy})"


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine itself."""
    name = host.lower().rstrip(".")
    address = _address(name)
    if address is None:
        return name in _LOCAL_NAMES or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    # Who connects to 0.0.0.0 reaches this machine.
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _left_out(host: str, port: int | None) -> bool:
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = [entry.strip().lower() for entry in named.split(",") if entry.strip()]
    return any(_covers(entry, host.lower(), port) for entry in entries)


def _covers(entry: str, host: str, port: int | None) -> bool:
    if entry in ("*", host, f"{host}:{port}", f"[{host}]"):
        return True
    if (address := _address(host)) is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    return host.endswith("." + entry.lstrip("*").lstrip("."))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _checked(variable: str, address: str, socks: bool) -> str:
    address = address if "://" in address else f"http://{address}"
    try:
        parts = httpx.URL(address)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    with_socks = socks and find_spec("socksio")
    known = ("http", "https", *(("socks5", "socks5h") if with_socks else ()))
    if parts.scheme not in known or not parts.host:
        scheme = parts.scheme or "no scheme"
        raise UsageError(
            f"{variable}: a proxy of {scheme!r}; expected {' or '.join(known)}://host:port"
        )
    return address
