"""What the operator may see of a relay, and the conditions that follow."""

from tokenplace_harness.states.parts import PARTS
from tokenplace_harness.states.seen import NOW, Case, make_relay, observed
from tokenplace_harness.states.summary import SUMMARIES

__all__ = ["CASES", "NOW", "Case", "make_relay", "observed"]

CASES: dict[str, Case] = SUMMARIES | PARTS
"""By name; all reasons of all conditions are in it."""
