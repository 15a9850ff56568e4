"""Which network addresses a stranger's URL may lead to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

NEVER = tuple(
    map(
        ip_network,
        (
            # IANA's special-purpose registries, as far as nothing that is meant can be there
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata of most clouds
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/128",
            "2001::/32",  # Teredo
            "2002::/16",  # 6to4
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
            # metadata elsewhere
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure: a public address that each of its machines has to itself
            "192.0.0.192/32",  # Oracle Cloud
            "fd00:ec2::/32",  # AWS
            "fd20:ce::/32",  # Google Cloud
        ),
    )
)
"""Refused also where private addresses are allowed."""

PRIVATE = tuple(
    map(
        ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "::/96", "64:ff9b:1::/48", "3fff::/20", "5f00::/16"),
    )
)
"""Besides those that `ipaddress` does not call global, or calls so only in some of Python's versions."""

TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "::ffff:0:0:0/96")))
"""NAT64 (RFC 6052) and SIIT (RFC 2765): the last 32 bits are the IPv4 address that is meant."""


def permitted(text: str, *, allow_private: bool = False) -> bool:
    """Whether a connection to this address (numeric, as a resolver gives it) may be made.

    Of IPv6 that stands for IPv4 (mapped, translated), the IPv4 address is judged.
    """
    try:
        address = _meant(ip_address(text))
    except ValueError:
        return False
    if any(address in network for network in NEVER):
        return False
    return allow_private or (address.is_global and not any(address in network for network in PRIVATE))


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in TRANSLATED):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
