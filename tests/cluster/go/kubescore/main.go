// Command kubescore reads manifests from standard input, runs all checks of kube-score, the optional
// ones too, and prints what each object failed as lines of kind/name<TAB>check<TAB>comment.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/zegl/kube-score/config"
	"github.com/zegl/kube-score/domain"
	"github.com/zegl/kube-score/parser"
	"github.com/zegl/kube-score/score"
	"github.com/zegl/kube-score/score/checks"
	"github.com/zegl/kube-score/scorecard"
)

type input struct{ io.Reader }

func (input) Name() string { return "stdin" }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	reader, err := parser.New(&parser.Config{})
	if err != nil {
		return err
	}
	objects, err := reader.ParseFiles([]domain.NamedReader{input{os.Stdin}})
	if err != nil {
		return err
	}
	settings := &config.RunConfiguration{
		EnabledOptionalTests: map[string]struct{}{},
		KubernetesVersion:    config.Semver{Major: 1, Minor: 31},
	}
	for _, one := range score.RegisterAllChecks(parser.Empty(), nil, nil).All() {
		settings.EnabledOptionalTests[one.ID] = struct{}{}
	}
	all := score.RegisterAllChecks(objects, &checks.Config{}, settings)
	card, err := score.Score(objects, all, settings)
	if err != nil {
		return err
	}
	for _, object := range *card {
		for _, found := range object.Checks {
			if found.Skipped || found.Grade > scorecard.GradeWarning {
				continue
			}
			for _, comment := range found.Comments {
				fmt.Printf("%s/%s\t%s\t%s\n", object.TypeMeta.Kind, object.ObjectMeta.Name, found.Check.ID, comment.Summary)
			}
		}
	}
	return nil
}
