"""Inputs of a reconcile that no watch reports: DNS answers, certificates, upstream health."""
