"""Keeps TokenplaceRelay resources and their children right."""

__version__ = "0.1.0"
