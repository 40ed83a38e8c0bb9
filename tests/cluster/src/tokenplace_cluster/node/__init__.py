"""A node: namespaces, network, containerd, kubelet and kube-proxy."""
