"""TokenplaceRelays of one namespace: written through kubectl, as users do, and read over HTTP."""

import json
import subprocess
from collections.abc import Callable
from typing import Final

from tokenplace_cluster.control_plane.objects import Object, Objects

REPOSITORY: Final = "ghcr.io/futuroptimist/tokenplace-relay"
DIGEST: Final = f"sha256:{'a' * 64}"
CHILDREN: Final = "serviceaccounts,deployments,services,endpointslices,ingresses,networkpolicies"
GIVEN: Final = frozenset({"ServiceAccount/default"})
"""Objects that every namespace has."""


class Relays:
    """What a test does with relays; every refusal of the API server is a failed assertion."""

    def __init__(
        self, kubectl: Callable[..., subprocess.CompletedProcess[str]], objects: Objects
    ) -> None:
        self._kubectl = kubectl
        self._objects = objects

    def apply(self, name: str = "relay", **spec: object) -> None:
        """Apply a relay; what the spec leaves out is a pinned image and no GPU."""
        full = {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}, **spec}
        relay = {
            "apiVersion": "token.place/v1alpha1",
            "kind": "TokenplaceRelay",
            "metadata": {"name": name},
            "spec": full,
        }
        self.write(relay)

    def write(self, obj: Object) -> None:
        """Apply any object."""
        self._run("apply", "--filename=-", given=json.dumps(obj))

    def create(self, obj: Object) -> None:
        """Create an object that must not be there yet."""
        self._run("create", "--filename=-", given=json.dumps(obj))

    def managers(self, name: str, kind: str, field: str) -> set[str]:
        """The managers of a field, wherever in the object it is."""
        entries = self._objects.get(kind, name, managed_fields=True)["metadata"]["managedFields"]
        return {
            entry["manager"] for entry in entries if f'"{field}"' in json.dumps(entry["fieldsV1"])
        }

    def try_delete(self, name: str, kind: str) -> None:
        """Delete an object that may not be there."""
        self._run("delete", kind, name, "--wait=false", "--ignore-not-found")

    def try_patch(self, patch: Object, name: str, kind: str) -> None:
        """Merge into an object that may not be there, or may refuse."""
        self._kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")

    def would_take(self, obj: Object) -> bool:
        """Whether the API server would accept an object; nothing is stored."""
        return not self._objects.refusal(obj)

    def read(self, name: str = "relay", kind: str = "tpr") -> Object:
        """One object."""
        return self._objects.get(kind, name)

    def all(self, kind: str) -> list[Object]:
        """All objects of one kind, or of several that are separated by commas."""
        return self._objects.all(kind)

    def children(self, name: str = "relay") -> dict[str, Object]:
        """The child resources of the relay, by `Kind/name`."""
        uid = self.read(name)["metadata"]["uid"]
        return {
            f"{child['kind']}/{child['metadata']['name']}": child
            for child in self.all(CHILDREN)
            for owner in child["metadata"].get("ownerReferences", [])
            if owner["uid"] == uid and owner.get("controller")
        }

    def wishes(self, name: str = "relay") -> dict[str, Object]:
        """The child resources without status and without fields that the server sets."""
        return {child: _wished(obj) for child, obj in self.children(name).items()}

    def leftovers(self) -> set[str]:
        """Objects of the kinds of child resources, with any owner, by `Kind/name`."""
        every = {f"{obj['kind']}/{obj['metadata']['name']}" for obj in self.all(CHILDREN)}
        return every - GIVEN

    def delete(self, name: str = "relay", kind: str = "tpr") -> None:
        """Delete one object and do not wait until it is gone."""
        self._run("delete", kind, name, "--wait=false")

    def patch(self, patch: Object, name: str = "relay", kind: str = "tpr", *more: str) -> None:
        """Merge into an object."""
        text = json.dumps(patch)
        self._run("patch", kind, name, "--type=merge", f"--patch={text}", *more)

    def conditions(self, name: str = "relay") -> dict[str, Object]:
        """The conditions by type."""
        return _conditions(self.read(name))

    def when(self, name: str = "relay", **expected: str) -> Object:
        """The relay, if each of these conditions has the expected status or reason.

        A condition that was written for an older generation fails the assertion too.
        """
        relay = self.read(name)
        conditions = _conditions(relay)
        for kind, value in expected.items():
            condition = conditions.get(kind, {})
            assert value in {condition.get("status"), condition.get("reason")}, json.dumps(
                conditions, indent=1
            )
            assert condition["observedGeneration"] == relay["metadata"]["generation"]
        return relay

    def events(self, reason: str) -> list[Object]:
        """The Events of a reason that our operator wrote."""
        return [
            event
            for event in self.all("events")
            if event["reason"] == reason
            and event["source"].get("component") == "tokenplace-operator"
        ]

    def _run(self, *arguments: str, given: str | None = None) -> str:
        done = self._kubectl(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _conditions(relay: Object) -> dict[str, Object]:
    """The conditions by type."""
    conditions = relay.get("status", {}).get("conditions", [])
    return {condition["type"]: condition for condition in conditions}


def _wished(child: Object) -> Object:
    kept = {"labels", "annotations", "ownerReferences"}
    metadata = {name: value for name, value in child["metadata"].items() if name in kept}
    metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    desired = {name: value for name, value in child.items() if name not in {"status", "metadata"}}
    if child["kind"] == "Service":
        # A Service that was deleted and created again has another address.
        given = {"clusterIP", "clusterIPs"}
        desired["spec"] = {name: v for name, v in child["spec"].items() if name not in given}
    return {**desired, "metadata": metadata}
