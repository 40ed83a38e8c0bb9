"""TokenplaceRelays of one namespace, written and read as a user does: through kubectl."""

import json
import subprocess
from collections.abc import Callable
from typing import Any, Final

REPOSITORY: Final = "ghcr.io/futuroptimist/tokenplace-relay"
DIGEST: Final = f"sha256:{'a' * 64}"
CHILDREN: Final = "serviceaccounts,deployments,services,endpointslices,ingresses,networkpolicies"
GIVEN: Final = frozenset({"ServiceAccount/default"})
"""What every namespace has."""

Object = dict[str, Any]


class Relays:
    """What a test does with relays; every refusal of the API server is a failed assertion."""

    def __init__(self, kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        self._kubectl = kubectl

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
        """Who manages a field, wherever in the object it is."""
        text = self._run("get", kind, name, "--output=json", "--show-managed-fields")
        entries = json.loads(text)["metadata"]["managedFields"]
        return {one["manager"] for one in entries if f'"{field}"' in json.dumps(one["fieldsV1"])}

    def try_delete(self, name: str, kind: str) -> None:
        """Delete an object that may not be there."""
        self._run("delete", kind, name, "--wait=false", "--ignore-not-found")

    def try_patch(self, patch: Object, name: str, kind: str) -> None:
        """Merge into an object that may not be there, or may refuse."""
        self._kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")

    def would_take(self, obj: Object) -> bool:
        """Whether the API server would take an object; nothing is stored."""
        done = self._kubectl("create", "--dry-run=server", "--filename=-", given=json.dumps(obj))
        return done.returncode == 0

    def read(self, name: str = "relay", kind: str = "tpr") -> Object:
        """One object as it stands."""
        found: Object = json.loads(self._run("get", kind, name, "--output=json"))
        return found

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        found: list[Object] = json.loads(self._run("get", kind, "--output=json"))["items"]
        return found

    def children(self, name: str = "relay") -> dict[str, Object]:
        """What has the relay as its controller, by `Kind/name`."""
        uid = self.read(name)["metadata"]["uid"]
        return {
            f"{child['kind']}/{child['metadata']['name']}": child
            for child in self.all(CHILDREN)
            for owner in child["metadata"].get("ownerReferences", [])
            if owner["uid"] == uid and owner.get("controller")
        }

    def wishes(self, name: str = "relay") -> dict[str, Object]:
        """What is wanted of all children: not their status, nor what the server gives or counts."""
        return {child: _wished(obj) for child, obj in self.children(name).items()}

    def leftovers(self) -> set[str]:
        """What there is of the kinds of children, whoever owns it."""
        found = {f"{one['kind']}/{one['metadata']['name']}" for one in self.all(CHILDREN)}
        return found - GIVEN

    def delete(self, name: str = "relay", kind: str = "tpr") -> None:
        """Delete one object and do not wait for its end."""
        self._run("delete", kind, name, "--wait=false")

    def patch(self, patch: Object, name: str = "relay", kind: str = "tpr", *more: str) -> None:
        """Merge into an object."""
        text = json.dumps(patch)
        self._run("patch", kind, name, "--type=merge", f"--patch={text}", *more)

    def conditions(self, name: str = "relay") -> dict[str, Object]:
        """The conditions by type."""
        found = self.read(name).get("status", {}).get("conditions", [])
        return {one["type"]: one for one in found}

    def when(self, name: str = "relay", **wanted: str) -> Object:
        """The relay once each condition speaks of its spec and has the wanted status or reason."""
        relay = self.read(name)
        found = {one["type"]: one for one in relay.get("status", {}).get("conditions", [])}
        for kind, value in wanted.items():
            one = found.get(kind, {})
            assert value in {one.get("status"), one.get("reason")}, json.dumps(found, indent=1)
            assert one["observedGeneration"] == relay["metadata"]["generation"]
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


def _wished(child: Object) -> Object:
    kept = {"labels", "annotations", "ownerReferences"}
    metadata = {name: value for name, value in child["metadata"].items() if name in kept}
    metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    wanted = {name: value for name, value in child.items() if name not in {"status", "metadata"}}
    if child["kind"] == "Service":
        # A Service whose port was renumbered is made anew, and gets another address.
        given = {"clusterIP", "clusterIPs"}
        wanted["spec"] = {name: v for name, v in child["spec"].items() if name not in given}
    return {**wanted, "metadata": metadata}
