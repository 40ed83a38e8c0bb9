// Command policy prints which connections a set of NetworkPolicies allows, by the matcher of Cyclonus.
//
// It reads {"policies": [NetworkPolicy], "connections": [{source, destination, port, portName, protocol}]}
// from stdin, where a peer is {ip, namespace, namespaceLabels, podLabels} and one without a namespace
// is outside the cluster. It prints a list of {ingress, egress}: true where that side allows it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

type peer struct {
	IP              string            `json:"ip"`
	Namespace       string            `json:"namespace"`
	NamespaceLabels map[string]string `json:"namespaceLabels"`
	PodLabels       map[string]string `json:"podLabels"`
}

type connection struct {
	Source      peer          `json:"source"`
	Destination peer          `json:"destination"`
	Port        int           `json:"port"`
	PortName    string        `json:"portName"`
	Protocol    core.Protocol `json:"protocol"`
}

type question struct {
	Policies    []*networking.NetworkPolicy `json:"policies"`
	Connections []connection                `json:"connections"`
}

type verdict struct {
	Ingress bool `json:"ingress"`
	Egress  bool `json:"egress"`
}

func (p peer) traffic() *matcher.TrafficPeer {
	found := &matcher.TrafficPeer{IP: p.IP}
	if p.Namespace != "" {
		found.Internal = &matcher.InternalPeer{
			Namespace:       p.Namespace,
			NamespaceLabels: p.NamespaceLabels,
			PodLabels:       p.PodLabels,
		}
	}
	return found
}

func judge(policy *matcher.Policy, one connection) verdict {
	result := policy.IsTrafficAllowed(&matcher.Traffic{
		Source:           one.Source.traffic(),
		Destination:      one.Destination.traffic(),
		ResolvedPort:     one.Port,
		ResolvedPortName: one.PortName,
		Protocol:         one.Protocol,
	})
	return verdict{Ingress: result.Ingress.IsAllowed(), Egress: result.Egress.IsAllowed()}
}

func run() error {
	var asked question
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return err
	}
	policy := matcher.BuildNetworkPolicies(false, asked.Policies)
	verdicts := make([]verdict, 0, len(asked.Connections))
	for _, one := range asked.Connections {
		verdicts = append(verdicts, judge(policy, one))
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
