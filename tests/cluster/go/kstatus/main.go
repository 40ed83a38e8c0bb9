// Command kstatus prints the status that the library of that name computes for Kubernetes objects: it reads a JSON list of
// objects on stdin and prints for each a line of JSON with its status and message.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type verdict struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	lines := json.NewEncoder(os.Stdout)
	for _, object := range objects {
		found := &unstructured.Unstructured{Object: withIntegers(object).(map[string]any)}
		result, err := status.Compute(found)
		if err != nil {
			return err
		}
		if err := lines.Encode(verdict{found.GetName(), result.Status.String(), result.Message}); err != nil {
			return err
		}
	}
	return nil
}

// withIntegers turns the numbers of decoded JSON into what the API machinery wants: int64 where they are whole.
func withIntegers(value any) any {
	switch found := value.(type) {
	case map[string]any:
		for name, one := range found {
			found[name] = withIntegers(one)
		}
	case []any:
		for position, one := range found {
			found[position] = withIntegers(one)
		}
	case float64:
		if found == float64(int64(found)) {
			return int64(found)
		}
	}
	return value
}
