"""A real Kubernetes control plane and node for tests and the demo, without a container engine."""

__version__ = "0.1.0"
