module token.place/tests/cluster/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/sigstore/cosign/v3 v3.1.3
	sigs.k8s.io/gateway-api v1.6.3
)
