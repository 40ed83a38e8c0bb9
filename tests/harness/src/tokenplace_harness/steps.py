"""Steps of compute nodes, for tables of edge cases; a value of ... leaves a field out."""

from tokenplace_harness.inside import CLIENT, NODE, SEALED, Answer, Inside, Json
from tokenplace_harness.table import Step


def register(key: object = NODE, capabilities: object = ..., **more: object) -> Step:
    body = {"server_public_key": key, "capabilities": capabilities, **more}
    sent = {name: value for name, value in body.items() if value is not ...}

    async def step(relay: Inside) -> Answer:
        answer = await relay.post("servers/register", sent)
        if isinstance(answer.body, dict) and "control_credential" in answer.body:
            relay.credentials[str(key)] = answer.body["control_credential"]
        return answer

    return step


def able(**capabilities: object) -> Step:
    """Register with these capabilities and the usual model."""
    return register(capabilities={"supported_model_ids": ["m"], **capabilities})


def poll(key: object = NODE, **more: object) -> Step:
    return lambda relay: relay.post("servers/poll", {"server_public_key": key, **more})


def submit(request_id: str | None = "r1", **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.submit(request_id, **fields)


def cancel(request_id: str = "r1") -> Step:
    return lambda relay: relay.cancel(request_id)


def retrieve() -> Step:
    return lambda relay: relay.retrieve()


def unregister(key: str = NODE) -> Step:
    return lambda relay: relay.unregister(key)


def control(request_id: object = "r1", **more: object) -> Step:
    async def step(relay: Inside) -> Answer:
        proof = relay.credentials.get(NODE, "")
        body = {"server_public_key": NODE, "request_id": request_id, "control_credential": proof}
        sent = {name: value for name, value in {**body, **more}.items() if value is not ...}
        return await relay.post("servers/control", sent)

    return step


def respond(request_id: object = "r1", **more: object) -> Step:
    body = {"client_public_key": CLIENT, "request_id": request_id, **SEALED, **more}
    sent = {name: value for name, value in body.items() if value is not ...}
    return lambda relay: relay.post("responses", sent)


def with_credential(call: str, **more: object) -> Step:
    """A call that shows the node's credential where today's peers show nothing."""

    async def step(relay: Inside) -> Answer:
        proof = {"control_credential": relay.credentials[NODE]}
        body: Json = {"client_public_key": CLIENT, "request_id": "r1", **SEALED}
        if call != "responses":
            body = {"server_public_key": NODE}
        return await relay.post(call, {**body, **proof, **more})

    return step


def restart(key: str = NODE) -> list[Step]:
    """The node leaves and comes back, keeping its old credential for what is asked next."""

    async def come_back(relay: Inside) -> Answer:
        relay.credentials["old"] = relay.credentials[key]
        await relay.unregister(key)
        return await register(key)(relay)

    return [come_back]


def with_old(request_id: str = "r1", **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.control(request_id, credential=relay.credentials["old"], **fields)


def at(seconds: float, step: Step) -> Step:
    """The call of a moment in which the relay's timer has not looked yet."""

    async def late(relay: Inside) -> Answer:
        relay.clock.now += seconds
        return await step(relay)

    return late


def leave(key: object = NODE, credential: object = ...) -> Step:
    body = {"server_public_key": key, "control_credential": credential}
    sent = {name: value for name, value in body.items() if value is not ...}
    return lambda relay: relay.post("servers/unregister", sent)


KNOWN = [register()]
QUEUED = [*KNOWN, submit()]
CLAIMED = [*QUEUED, poll()]
ANSWERED = [*CLAIMED, respond()]
