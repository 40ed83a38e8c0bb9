"""Conversion of Helm values of upstream's charts to a TokenplaceRelay."""
