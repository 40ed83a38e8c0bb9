"""Handover of the objects of a Helm release to the operator while they keep serving."""
