"""The children that a relay should have, as pure functions of the relay and of observed facts."""
