// Command rules evaluates alerting rules over given series, by Prometheus' own rule manager.
//
// usage: rules RULES.yaml < question.json
//
// The question is {"step": "30s", "until": "1h", "series": {"metric{...}": "0+1x10"}}, where values
// are in the notation of Prometheus' unit tests. It prints one object per step: {"at": seconds,
// "firing": [{"labels": {...}, "annotations": {...}}], "pending": [...]}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

type duration struct{ time.Duration }

func (d *duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

type question struct {
	Step   duration          `json:"step"`
	Until  duration          `json:"until"`
	Series map[string]string `json:"series"`
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type moment struct {
	At      int     `json:"at"`
	Firing  []alert `json:"firing"`
	Pending []alert `json:"pending"`
}

// load gives the series as the one command that the loader of Prometheus' tests takes.
func (q question) load() string {
	lines := []string{fmt.Sprintf("load %s", q.Step.Duration)}
	for series, values := range q.Series {
		lines = append(lines, fmt.Sprintf("  %s %s", series, values))
	}
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n") + "\n"
}

func groups(suite *promqltest.LazyLoader, step time.Duration, file string) ([]*rules.Group, error) {
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		AppendableV2: suite.Storage(),
		Context:      context.Background(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       promslog.NewNopLogger(),
	})
	loaded, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, file)
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	found := make([]*rules.Group, 0, len(loaded))
	for _, group := range loaded {
		found = append(found, group)
	}
	return found, nil
}

func look(found []*rules.Group) (firing, pending []alert, err error) {
	firing, pending = []alert{}, []alert{}
	for _, group := range found {
		for _, rule := range group.Rules() {
			err = errors.Join(err, rule.LastError())
			alerting, ok := rule.(*rules.AlertingRule)
			if !ok {
				continue
			}
			for _, active := range alerting.ActiveAlerts() {
				one := alert{active.Labels.Map(), active.Annotations.Map()}
				if active.State == rules.StateFiring {
					firing = append(firing, one)
				} else {
					pending = append(pending, one)
				}
			}
		}
	}
	return firing, pending, err
}

func run(file string) error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	options := promqltest.LazyLoaderOpts{
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	}
	suite, err := promqltest.NewLazyLoader(asked.load(), options)
	if err != nil {
		return err
	}
	defer suite.Close()
	suite.SubqueryInterval = asked.Step.Duration
	found, err := groups(suite, asked.Step.Duration, file)
	if err != nil {
		return err
	}
	moments := []moment{}
	for at := time.Duration(0); at <= asked.Until.Duration; at += asked.Step.Duration {
		now := time.Unix(0, 0).UTC().Add(at)
		suite.WithSamplesTill(now, func(failed error) {
			if err = failed; err != nil {
				return
			}
			for _, group := range found {
				group.Eval(suite.Context(), now)
			}
		})
		if err != nil {
			return err
		}
		firing, pending, err := look(found)
		if err != nil {
			return err
		}
		moments = append(moments, moment{int(at.Seconds()), firing, pending})
	}
	return json.NewEncoder(os.Stdout).Encode(moments)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rules RULES.yaml < question.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
