"""Calls to subresources: the status of an object, the log of a pod."""

from tokenplace_operator.api.kinds import POD, Object, of
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.kube.transport import Transport

APPLY = "application/apply-patch+yaml"
STATUS_FIELD_MANAGER = f"{OPERATOR}/status"


class Subresources(Transport):
    """The verbs on subresources."""

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status alone, as `tokenplace-operator/status`, forced."""
        metadata = obj["metadata"]
        return await self.request(
            "PATCH",
            of(obj).path(metadata["namespace"], metadata["name"], "status"),
            obj,
            content_type=APPLY,
            field_manager=STATUS_FIELD_MANAGER,
            force_conflicts="true",
        )

    async def pod_log(
        self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False
    ) -> str:
        """The last lines of a container's log; previous: of the container before its restart."""
        query = {"container": container, "tailLines": str(lines), "timestamps": "true"}
        if previous:
            query["previous"] = "true"
        content = await self.request_bytes(
            "GET",
            POD.path(namespace, pod, "log"),
            query_params=list(query.items()),
            # A log is plain text, but the error of a failed request is JSON.
            header_params={"Accept": "text/plain, application/json"},
        )
        return content.decode(errors="replace")
