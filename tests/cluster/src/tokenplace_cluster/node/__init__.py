"""A real node: namespaces, network, containerd, kubelet."""
