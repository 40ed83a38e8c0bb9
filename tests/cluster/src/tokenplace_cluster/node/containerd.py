"""Writes the configuration of the node's containerd, and the pause image of its pods."""

from pathlib import Path
from typing import Final

from tokenplace_cluster.programs.oci_archive import single_binary_archive

PAUSE_IMAGE: Final = "cluster.tokenplace.test/pause:1"
SOCKET: Final = "/run/containerd/containerd.sock"
"""The path inside the node, which has its own /run."""

_CONFIGURATION = """\
version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Pods must start without CAP_SYS_RESOURCE, which lowering a score needs.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{hosts}"
"""


def write_configuration(directory: Path, *, cni: Path, registry: str) -> Path:
    """Write containerd's files below a directory; return the path of its configuration.

    registry: the host:port of an image registry, for plain HTTP.
    """
    hosts = directory / "hosts"
    _write_hosts(hosts, registry)
    path = directory / "config.toml"
    path.write_text(
        _CONFIGURATION.format(
            root=directory / "root", socket=SOCKET, pause=PAUSE_IMAGE, cni=cni, hosts=hosts
        )
    )
    return path


def write_pause_archive(directory: Path, binary: Path) -> Path:
    """Write the OCI archive of the pause image; return its path."""
    path = directory / "pause.tar"
    path.write_bytes(single_binary_archive(PAUSE_IMAGE, binary.read_bytes(), entrypoint="/pause"))
    return path


def _write_hosts(hosts: Path, registry: str) -> None:
    folder = hosts / registry
    folder.mkdir(parents=True)
    url = f"http://{registry}"
    (folder / "hosts.toml").write_text(
        f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    )
