"""How `wavemill web` listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8642


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """Where the server listens and how it is reached.

    Attributes
    ----------
    root_path : str
        The path below which a proxy offers it, such as "/wavemill"; "" for none.
    host_names : tuple of str
        Names, besides those of this machine, by which browsers reach a server that needs no token.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    root_path: str = ""
    host_names: tuple[str, ...] = ()

    @property
    def needs_no_token(self) -> bool:
        """Whether only this machine can reach the server, so that it may be open while there is no token."""
        return is_loopback(self.host) and not self.root_path


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
