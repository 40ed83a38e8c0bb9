"""The addresses of one cluster with a node, and the link between this machine and the node.

The node has a network namespace of its own, so its bridge, veths and nft tables never touch this
machine, which sees one point-to-point link and two routes.
"""

import errno
import json
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final

POOL: Final = range(201, 250)
"""The second octets of the /16 networks in 10.0.0.0/8 that clusters may take."""


@dataclass(frozen=True, slots=True)
class Network:
    """The names and addresses of one cluster, derived from one octet."""

    octet: int

    @property
    def link(self) -> str:
        """This machine's end of the link; the node's end is eth0."""
        return f"tokenplace{self.octet}"

    @property
    def gateway(self) -> str:
        """The address of this machine for pods and the node."""
        return f"10.{self.octet}.0.1"

    @property
    def node(self) -> str:
        return f"10.{self.octet}.0.2"

    @property
    def pods(self) -> str:
        return f"10.{self.octet}.1.0/24"

    @property
    def services(self) -> str:
        return f"10.{self.octet}.2.0/24"

    def test_address(self, last: int) -> str:
        """Another address of this machine, for a server outside the cluster."""
        return f"10.{self.octet}.3.{last}"


class NoFreeNetworkError(RuntimeError):
    """All networks of the pool are in use on this machine."""


def connect(pid: int, held: Collection[str] = ()) -> Network:
    """Take a free /16 and link this machine to the network namespace of a process.

    The name of the link holds the octet, so two clusters cannot take the same network.
    held: names of links that are gone, but whose addresses are still in use.
    """
    used = _used_networks()
    for octet in POOL:
        network = Network(octet)
        if network.link in held:
            continue
        if any(subnet.overlaps(IPv4Network(f"10.{octet}.0.0/16")) for subnet in used):
            continue
        if _add_link(network, pid):
            _configure(network)
            return network
    raise NoFreeNetworkError(
        f"10.{POOL.start}.0.0/16 to 10.{POOL.stop - 1}.0.0/16 are all in use on this machine"
    )


def add_test_address(network: Network, last: int) -> str:
    """Add an address of this machine that pods reach; it is removed with the link."""
    address = network.test_address(last)
    _ip("address", "add", f"{address}/32", "dev", network.link)
    return address


def cni_configuration(network: Network, state: Path) -> str:
    """The CNI configuration: a bridge with host-local addresses, and host ports."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(state),
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps(
        {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}, indent=2
    )


def _used_networks() -> list[IPv4Network]:
    routes = json.loads(_ip("-json", "route", "show", "table", "all"))
    destinations = (str(route.get("dst", "")) for route in routes)
    subnets = (ip_network(text) for text in destinations if text[:1].isdigit() and ":" not in text)
    return [net for net in subnets if isinstance(net, IPv4Network) and net.prefixlen > 8]


def _add_link(network: Network, pid: int) -> bool:
    """Create the link; return False if another cluster has one of the same name."""
    if Path("/sys/class/net", network.link).exists():
        return False
    try:
        _ip("link", "add", network.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    for command in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{network.node}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["route", "add", "default", "via", network.gateway],
    ):
        _run([*inside, *command])
    return True


def _configure(network: Network) -> None:
    _ip("address", "add", f"{network.gateway}/24", "dev", network.link)
    _ip("link", "set", network.link, "up")
    for routed in (network.pods, network.services):
        _ip("route", "add", routed, "via", network.node, "dev", network.link)


def _ip(*arguments: str) -> str:
    return _run(["ip", *arguments])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        code = errno.EEXIST if "File exists" in result.stderr else errno.EIO
        raise OSError(code, f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout
