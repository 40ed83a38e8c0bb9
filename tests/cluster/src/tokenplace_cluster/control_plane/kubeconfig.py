"""Kubeconfig files for users of a control plane."""

from pathlib import Path

import yaml


def write(path: Path, *, server: str, authority: Path, user: dict[str, str]) -> Path:
    """Write a kubeconfig with one cluster, one user and one context; return its path."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "tokenplace",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "tokenplace", "context": {"cluster": "tokenplace", "user": "user"}}],
        "current-context": "tokenplace",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path
