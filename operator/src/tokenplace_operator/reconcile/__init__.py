"""Reconciles one TokenplaceRelay: observe, build, apply, report."""
