"""Every state as read by kstatus, the library with which Flux, Argo CD and others wait."""

from tokenplace_cluster.programs.kstatus import verdicts
from tokenplace_harness.states import CASES, Case, make_relay, observed
from tokenplace_operator.api.conditions import Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.compute import compute_status, invalid_status


def in_cluster(name: str, case: Case, *, generation: int | None = None) -> Object:
    """The relay of a case with the status that follows."""
    relay = make_relay(**case.spec)
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {
            "name": name,
            "namespace": "default",
            "generation": relay.generation if generation is None else generation,
        },
        "status": compute_status(relay, observed(case)),
    }


def expected_kstatus(case: Case) -> str:
    """Return the kstatus of a case; a case without Ready is one of a ready relay."""
    if case.expected.get(Type.STALLED, ("False",))[0] == "True":
        return "Failed"
    return "Current" if case.expected.get(Type.READY, ("True",))[0] == "True" else "InProgress"


def test_kstatus_of_each_case() -> None:
    expected = {name: expected_kstatus(case) for name, case in CASES.items()}
    assert set(expected.values()) == {"Current", "InProgress", "Failed"}
    assert verdicts([in_cluster(name, case) for name, case in CASES.items()]) == expected


def test_an_unobserved_spec_is_in_progress() -> None:
    found = verdicts([in_cluster(name, case, generation=4) for name, case in CASES.items()])
    assert found == dict.fromkeys(CASES, "InProgress")


def test_an_invalid_spec_has_failed() -> None:
    case = CASES["ready"]
    relay = in_cluster("relay", case)
    problems = ("spec.port: must be an integer",)
    relay["status"] = invalid_status(3, problems, relay["status"], observed(case).now)
    assert verdicts([relay]) == {"relay": "Failed"}
