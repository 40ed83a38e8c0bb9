"""A control plane for tests: etcd, API server, controllers, certificates, audit log."""
