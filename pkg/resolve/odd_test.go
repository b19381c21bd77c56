// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// Shorthands, so that a row is a line.
type (
	rules  = registrytest.Rules
	rule   = registrytest.Rule
	answer = registrytest.Answer
)

const own = registrytest.Registry

// tower has all layers, as in the webhook.
type tower struct {
	resolve.Resolver
	metrics *prometheus.Registry
}

func build(t *testing.T, c *registry.Client) *tower {
	metrics := prometheus.NewRegistry()
	c.Metrics = registry.NewMetrics(metrics)
	cache := &resolve.Cache{
		Next:    &resolve.Limit{Next: &resolve.Registry{Client: c}, Places: resolve.Places(0)},
		Answers: &resolve.Answers{}, Limits: limits, Client: c,
	}
	t.Cleanup(cache.Answers.Close)
	mirrors := &resolve.Mirrors{Next: &resolve.Credentials{Next: cache}, Client: c}
	top := &resolve.Measured{Next: mirrors, Metrics: resolve.NewMetrics(metrics), Label: c.Label}
	return &tower{top, metrics}
}

func having(creds ...keychain.Credential) keychain.Keychain {
	return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return creds
	})
}

// try tests cases side by side, because some of them wait.
func try(t *testing.T, cases []registrytest.Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			run(t, c)
		})
	}
}

func run(t *testing.T, c registrytest.Case) {
	w := registrytest.Start(t, c.Rules)
	top := build(t, w.Client(c.Hosts(w)...))
	var result resolve.Result
	var err error
	for range max(c.Times, 1) {
		result, err = top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(c.Reference(w)), Keychain: having(c.Credentials...), Namespace: "ns", Fresh: !c.Stale})
		silent(t, err)
	}
	var asked []string
	for _, request := range c.Asked {
		asked = append(asked, w.Expand(request))
	}
	if diff := cmp.Diff(asked, w.Requests()); diff != "" {
		t.Errorf("requests -want +got\n%s", diff)
	}
	if class, _ := resolvetest.Class(err); result.Digest != c.Digest() || class != c.Class {
		t.Errorf("Resolve = %v, %v, want %v, %v", result.Digest, err, c.Digest(), c.Class)
	}
	if says := w.Expand(c.Says); says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("the error is %v, want it to say %q", err, says)
	}
	if c.Most > 0 && w.Written() > c.Most {
		t.Errorf("%d bytes could be written, want at most %d", w.Written(), c.Most)
	}
	gathered(t, top.metrics)
}

// silent checks that no secret is in an error, or in an error that it wraps.
func silent(t *testing.T, err error) {
	t.Helper()
	switch e := err.(type) { //nolint:errorlint // each one by itself
	case nil:
		return
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			silent(t, inner)
		}
	case interface{ Unwrap() error }:
		silent(t, e.Unwrap())
	}
	if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, registrytest.Canary) {
		t.Errorf("a secret in an error: %s", text)
	}
}

// gathered checks that no secret is in a metric.
func gathered(t *testing.T, metrics *prometheus.Registry) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(text.String(), registrytest.Canary) || !strings.Contains(text.String(), "tagpin_resolve_lookups_total") {
		t.Errorf("a secret in the metrics, or no metrics:\n%s", text.String())
	}
}

// spelledCases are about hosts with an address that must not be dialled.
func spelledCases() (cases []registrytest.Case) {
	for _, host := range []string{
		"0.0.0.0:{port}", "127.0.0.2:{port}", "[::ffff:7f00:2]:{port}", "[::1]:{port}", "[::]:{port}", "[64:ff9b::7f00:1]:{port}",
	} {
		cases = append(cases, registrytest.Case{
			Name: "R38 " + host, Image: host + "/app:1", More: []registry.Host{{Name: host}}, Class: failure.Invalid, Says: "its address is not allowed",
		})
	}
	return cases
}

// TestOdd tests registries that behave oddly or do harm on purpose, and how mirrors are asked.
func TestOdd(t *testing.T) {
	try(t, slices.Concat(registrytest.Cases(), spelledCases(), mirrorCases))
}

// TestEveryRow checks that each row of pkg/registry/README.md has a case here, or names a test.
func TestEveryRow(t *testing.T) {
	text, err := os.ReadFile("../registry/README.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, c := range slices.Concat(registrytest.Cases(), spelledCases(), mirrorCases) {
		number, _, _ := strings.Cut(c.Name, " ")
		have[number] = true
	}
	rows := regexp.MustCompile(`(?m)^\| ([RN][0-9]{2}) \|.*\| (?:`+"`"+`(\S+) (Test\w+)`+"`"+`)? ?\|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		t.Error("no rows were found")
	}
	for _, row := range rows {
		number, folder, name := row[1], row[2], row[3]
		if name == "" && !have[number] {
			t.Errorf("%s has no case and names no test", number)
		}
		if name != "" && !declared(t, "../../"+folder, name) {
			t.Errorf("%s: there is no %s in %s", number, name, folder)
		}
		delete(have, number)
	}
	for number := range have {
		t.Errorf("a case of %s, which is no row", number)
	}
}

// declared reports whether the tests of a folder have one with the name.
func declared(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}
