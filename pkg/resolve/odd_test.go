// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
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

const (
	own   = registrytest.Registry
	realm = registrytest.Realm
	other = registrytest.Other
)

// odd is a case: how hosts behave, what is looked up, and which requests and result that must lead
// to. Its name begins with the number of a row of pkg/registry/README.md.
type odd struct {
	name  string
	rules rules
	host  registry.Host         // the settings of the registry
	more  []registry.Host       // those of other hosts
	image string                // default: {registry}/app:1
	creds []keychain.Credential // to be tried, in order
	times int                   // the number of lookups, one after another; default: 1
	stale bool                  // not a deploy, so that an answer may be remembered

	asked []string      // requests, in order
	want  string        // the body whose digest is the answer; "" for an error
	class failure.Class // "": none
	says  string        // a part of the error, with {registry} and so on for the hosts
	most  int64         // the maximum number of bytes that hosts can write; 0: any
}

func users(names ...string) (creds []keychain.Credential) {
	for _, name := range names {
		creds = append(creds, keychain.Credential{Auth: registrytest.Credential(name)})
	}
	return creds
}

func shared(name string) keychain.Credential {
	return keychain.Credential{Auth: registrytest.Credential(name), Shared: true}
}

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

func (o odd) run(t *testing.T) {
	t.Parallel() // because some cases wait
	w := registrytest.Start(t, o.rules)
	_, port, _ := strings.Cut(w.Host(own), ":")
	expand := func(s string) string { return w.Expand(strings.ReplaceAll(s, "{port}", port)) }
	hosts := o.hosts(expand)
	top := build(t, w.Client(hosts...))
	image := expand(cmp.Or(o.image, "{registry}/app:1"))
	var result resolve.Result
	var err error
	for range max(o.times, 1) {
		result, err = top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(image), Keychain: having(o.creds...), Namespace: "ns", Fresh: !o.stale})
		silent(t, err)
	}
	if diff := gocmp.Diff(o.asked, w.Requests()); diff != "" {
		t.Errorf("requests -want +got\n%s", diff)
	}
	o.judge(t, w, result, err)
	gathered(t, top.metrics)
}

// hosts are the settings of the case, with the addresses that there are now.
func (o odd) hosts(expand func(string) string) []registry.Host {
	o.host.Name = "{registry}"
	o.host.Timeout = cmp.Or(o.host.Timeout, time.Minute) // for slow machines
	hosts := append(slices.Clone(o.more), o.host)
	for i := range hosts {
		h := &hosts[i]
		h.Name = expand(h.Name)
		h.AuthHosts, h.Mirrors = slices.Clone(h.AuthHosts), slices.Clone(h.Mirrors)
		for j := range h.AuthHosts {
			h.AuthHosts[j] = expand(h.AuthHosts[j])
		}
		for j := range h.Mirrors {
			h.Mirrors[j].Host = expand(h.Mirrors[j].Host)
		}
	}
	return hosts
}

func (o odd) judge(t *testing.T, w *registrytest.World, result resolve.Result, err error) {
	t.Helper()
	var want digest.Digest
	if o.want != "" {
		want = digest.FromString(o.want)
	}
	if class, _ := resolvetest.Class(err); result.Digest != want || class != o.class {
		t.Errorf("Resolve = %v, %v, want %v, %v", result.Digest, err, want, o.class)
	}
	if says := w.Expand(o.says); says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("the error is %v, want it to say %q", err, says)
	}
	if o.most > 0 && w.Written() > o.most {
		t.Errorf("%d bytes could be written, want at most %d", w.Written(), o.most)
	}
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

func try(t *testing.T, cases []odd) {
	for _, o := range cases {
		t.Run(o.name, o.run)
	}
}

// TestEveryRow checks that each row of pkg/registry/README.md has a case here, or names a test.
func TestEveryRow(t *testing.T) {
	text, err := os.ReadFile("../registry/README.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, cases := range [][]odd{digestCases, authCases, limitCases, redirectCases, hostileCases} {
		for _, o := range cases {
			number, _, _ := strings.Cut(o.name, " ")
			have[number] = true
		}
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
