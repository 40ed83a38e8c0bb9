"""The addresses of one cluster with a node, and the one link between the machine and the node.

The node lives in a network namespace of its own, so its bridge, its veths and kube-proxy's nft
tables never touch the machine's. The machine sees a point-to-point link and two routes, which go
with it.
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
"""The second octets of 10.0.0.0/8 to choose an instance's /16 from."""


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that is numbered in one instance, derived from one octet."""

    octet: int

    @property
    def link(self) -> str:
        """The machine's end of the link; the node's end is eth0."""
        return f"tokenplace{self.octet}"

    @property
    def gateway(self) -> str:
        """The machine's address as pods and the node see it."""
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
        """A further address of the machine, for a stand-in of something outside the cluster."""
        return f"10.{self.octet}.3.{last}"


class NoFreeNetworkError(RuntimeError):
    """Every /16 of the pool is in use on this machine."""


def connect(pid: int, held: Collection[str] = ()) -> Network:
    """Take a free /16 and link the machine to the network namespace of a process.

    The name of the link carries the octet, so that taking it is atomic between instances; held are
    names whose link is gone but whose addresses are still listened on.
    """
    used = _used_networks()
    for octet in POOL:
        network = Network(octet)
        if network.link in held:
            continue
        if any(used_one.overlaps(IPv4Network(f"10.{octet}.0.0/16")) for used_one in used):
            continue
        if _add_link(network, pid):
            _configure(network)
            return network
    raise NoFreeNetworkError(
        f"10.{POOL.start}.0.0/16 to 10.{POOL.stop - 1}.0.0/16 are all in use on this machine"
    )


def add_test_address(network: Network, last: int) -> str:
    """Give the machine one more address that pods reach; it goes with the link."""
    address = network.test_address(last)
    _ip("address", "add", f"{address}/32", "dev", network.link)
    return address


def cni_configuration(network: Network, state: Path) -> str:
    """The CNI list: a bridge with host-local addresses, and host ports."""
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
    parsed = (ip_network(one) for one in destinations if one[:1].isdigit() and ":" not in one)
    return [one for one in parsed if isinstance(one, IPv4Network) and one.prefixlen > 8]


def _add_link(network: Network, pid: int) -> bool:
    """Whether the link could be made; False when another instance holds the name."""
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
