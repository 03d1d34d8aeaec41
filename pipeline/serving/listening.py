"""Addresses that a server listens on, and the names by which this machine alone is reached."""

import ipaddress
import socket
from typing import Final

from pipeline.errors import SettingsError

ACCEPT_BACKLOG: Final = 1024
"""Connections that the kernel holds until the server accepts them."""


def bind_listener(host: str, port: int) -> socket.socket:
    """Binds the address. Raises SettingsError when it cannot be bound."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=ACCEPT_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"--host and --port: cannot listen on {host}:{port} ({error.strerror or error}); "
            "give a free port, or 0 to take any"
        ) from None


def can_listen(host: str, port: int) -> bool:
    """Tells whether a port can be bound now."""
    try:
        bind_listener(host, port).close()
    except SettingsError:
        return False
    return True


def listener_url(scheme: str, host: str, listener: socket.socket) -> str:
    """Returns the address of a bound listener as people write it: http://127.0.0.1:8090, http://[::1]:8090."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{listener.getsockname()[1]}"


def host_name(authority: str) -> str:
    """Returns the host of a Host header, without port and brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Tells whether a host is this machine: localhost, 127.0.0.0/8 or ::1; an empty one too (HTTP/1.0)."""
    if host.lower() in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
