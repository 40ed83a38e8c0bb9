"""The nameservers of pods, as the operator's own pod knows them."""

import os
from ipaddress import ip_address
from pathlib import Path

from tokenplace_operator.api.addresses import is_nameserver

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_SERVERS = 3
"""Resolvers use no more than the first three."""


def cluster_nameservers(resolv_conf: Path = RESOLV_CONF) -> tuple[str, ...]:
    """The addresses that pods send DNS queries to, in numerical order; empty outside a cluster.

    The kubelet gives all pods with the usual DNS policy the same servers: the address of the DNS
    Service, or of a cache on the node.
    """
    # On a developer's machine the file names servers that no pod uses.
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return ()
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return ()
    fields = (line.split() for line in lines)
    names = [words[1] for words in fields if len(words) > 1 and words[0] == "nameserver"]
    servers = {ip_address(name) for name in names[:MAX_SERVERS] if is_nameserver(name)}
    # Sorted, because equal facts must give an equal NetworkPolicy, whatever the file's order.
    return tuple(str(ip) for ip in sorted(servers, key=lambda ip: (ip.version, ip.packed)))
