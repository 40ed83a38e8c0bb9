"""Every observed state of a relay, and the conditions that the operator computes from it."""

from tokenplace_harness.states.cases import NOW, Case, make_relay, observed
from tokenplace_harness.states.conditions import CONDITION_CASES
from tokenplace_harness.states.ready import READY_CASES

__all__ = ["CASES", "NOW", "Case", "make_relay", "observed"]

CASES: dict[str, Case] = READY_CASES | CONDITION_CASES
"""All cases by name; they contain every reason of every condition."""
