"""The spec of a TokenplaceRelay as frozen dataclasses that mirror crds/tokenplacerelays.yaml."""
