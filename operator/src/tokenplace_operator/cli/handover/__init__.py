"""Handing the objects of a Helm release over to the operator, while they serve."""
