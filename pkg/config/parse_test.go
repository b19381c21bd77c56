// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const head = "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"

func parse(t *testing.T, body string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(head + body))
	if err != nil {
		t.Fatalf("Parse(%q) = %v, want a config", body, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v, want nil", err)
	}
	if diff := cmp.Diff(config.Default(), parse(t, "")); diff != "" {
		t.Errorf("Parse of a file without settings differs from Default (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(config.Default(), parse(t, "cache: {}\nregistries: []\nonFailure:\n")); diff != "" {
		t.Errorf("Parse of empty sections differs from Default (-want +got):\n%s", diff)
	}
	c, err := config.Load("")
	if diff := cmp.Diff(config.Default(), c); err != nil || diff != "" {
		t.Errorf("Load of no file = %v, differs from Default (-want +got):\n%s", err, diff)
	}
}

// labelList is a list of so many names of labels, each after a comma.
func labelList(n int) string {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, ", l%d", i)
	}
	return list.String()
}

// Labels that the API server takes are taken, and kept in what a scan finds.
func TestRevisionLabels(t *testing.T) {
	names := "[spark-app-selector, ray.io/cluster, A_b.c, x/" + strings.Repeat("x", 63) + labelList(12) + "]"
	c := parse(t, "revisionLabels: "+names+"\n")
	table, err := c.Table()
	if err != nil {
		t.Fatal(err)
	}
	pod, err := table.Scan(workload.Kind{Kind: "Pod"}, []byte(`{"metadata":{"labels":{"ray.io/cluster":"a","app":"b"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"ray.io/cluster": "a"}, pod.Metadata.Labels); diff != "" {
		t.Errorf("labels of a pod (-want +got):\n%s", diff)
	}
}

func TestWholeFile(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "whole.yaml"))
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	again, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := config.Parse(again)
	if err != nil {
		t.Fatalf("Parse of a written config = %v", err)
	}
	if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a written config reads otherwise (-first +again):\n%s", diff)
	}
	policy, err := c.Policy()
	if err != nil || !policy.Exempt[1].Match(ref.MustParse("localhost:5000/team/app:1")) {
		t.Errorf("Policy() = %+v, %v, want localhost:5000/team/* to match", policy, err)
	}
	table, err := c.Table()
	if err != nil || table == nil {
		t.Errorf("Table() = %v, %v", table, err)
	}
	client, err := c.Client()
	if err != nil {
		t.Fatalf("Client() = %v", err)
	}
	host := client.Host("registry.internal:5000")
	if host.Timeout != 3*time.Second || host.MaxInFlight != 7 || !host.Mirrors[0].Resolve || host.CAFile == "" || host.Verify {
		t.Errorf("Host(registry.internal:5000) = %+v, want its own settings, and the timeout of *", host)
	}
	if other := client.Host("ghcr.io"); other.Timeout != 3*time.Second || !other.Verify {
		t.Errorf("Host(ghcr.io) = %+v, want the settings of *", other)
	}
	if cache := c.Limits(); cache.Size != 7 || cache.TTL != time.Minute || cache.StaleFor != 2*time.Hour {
		t.Errorf("Remember = %+v", cache)
	}
}

// Each row's mistakes come together, each with the path of its field or its line.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"unknown fields", "outputs: digest\ncache: {tll: 1s}\nregistries: [{host: ghcr.io, time: 1}]\n", []string{
			"line 3: field outputs is unknown", "line 4: field tll is unknown", "line 5: field time is unknown",
		}},
		{"types", "maxInFlightPerNamespace: many\ncache: {ttl: 30}\ntemplates: x\n", []string{"line 3", `"30" is no duration`, "line 5"}},
		{"doubled key", "output: digest\noutput: digest\n", []string{"already defined"}},
		{"two documents", "---\nkind: Config\n", []string{"more than one document"}},
		{"values", "output: sha\nmaxInFlightPerNamespace: 0\ncache: {size: -1, ttl: 0s, negativeTTL: -1s, staleFor: 1s}\n", []string{
			"output: ", "maxInFlightPerNamespace: 0", "cache.size: -1", "cache.ttl: 0s", "cache.negativeTTL: -1s",
		}},
		{"stale", "cache: {staleFor: 10s}\n", []string{"cache.staleFor: 10s is less than ttl, 30s"}},
		{"patterns", "exemptImages: [nginx, 'a*b', 'ghcr.io/a/b']\n", []string{"exemptImages[0]: ", "exemptImages[1]: "}},
		{"owners", "skipOwners: [{owner: a/b/c, users: ['*']}]\n", []string{"skipOwners[0]: owner", "user \"*\""}},
		{"templates", "templates: [{group: apps, kind: Deployment, paths: [spec]}, {kind: X}, {kind: Y, paths: ['a[0]']}, {kind: Y, paths: [a]}]\n", []string{
			"templates[0]: ", "templates[1]: ", "templates[2]: ", "templates[3]: the kind is there already",
		}},
		{"labels", "revisionLabels: [app, app, a/b/c, '', A.b/c, 'a b', " + strings.Repeat("x", 64) + "]\n", []string{
			"revisionLabels[1]: \"app\" is there already", "revisionLabels[2]: ", "revisionLabels[3]: ",
			"revisionLabels[4]: ", "revisionLabels[5]: ", "revisionLabels[6]: ",
		}},
		{"too many labels", "revisionLabels: [a" + labelList(16) + "]\n", []string{"revisionLabels: 17 labels"}},
		{"names of kinds", `templates: [{group: argoproj.io/v1alpha1, kind: Rollout, paths: [a]}, {group: A.b, kind: X, paths: [a]}, {group: a..b, kind: X, paths: [a]},
  {group: a.b, kind: "X'", paths: [a]}, {group: a.b, kind: Rollout.argoproj.io, paths: [a]}, {group: c.d, kind: Job, paths: [a]}, {group: c.d, kind: JOB, paths: [a]}, {kind: ` + strings.Repeat("x", 64) + ", paths: [a]}]\n", []string{
			`templates[0].group: "argoproj.io/v1alpha1" has a version in it: want argoproj.io alone`, `templates[1].group: "A.b" is no`, `templates[2].group: "a..b" is no`,
			`templates[3].kind: "X'" is no`, `templates[4].kind: "Rollout.argoproj.io" is no`, "templates[6]: the kind is there already", "templates[7].kind: ",
		}},
		{"failures", "onFailure: {notFound: ignore, invalid: ''}\n", []string{`onFailure.notFound: "ignore": want deny or defer or allow`, "onFailure.invalid"}},
		{"credentials", "credentials: {dockerConfig: x, clouds: [gcp, google, google]}\n", []string{
			"credentials.dockerConfig: ", `credentials.clouds[0]: "gcp"`, `credentials.clouds[2]: "google" is there already`,
		}},
		{"hosts", "registries: [{host: ghcr.io}, {host: ghcr.io}, {host: index.docker.io}, {host: reg}, {host: 'https://a.b'}, {host: ''}, {host: a.b/c}]\n", []string{
			`registries[1].host: "ghcr.io" is there already`, "registries[2].host", "registries[3].host", "registries[4].host", "registries[5].host", "registries[6].host",
		}},
		{"limits", "registries: [{host: ghcr.io, timeout: 0s, maxInFlight: 0, requestsPerSecond: .nan}, {host: quay.io, timeout: 1h}]\n", []string{
			"registries[0].timeout: 0s", "registries[0].maxInFlight: 0", "registries[0].requestsPerSecond: NaN", "registries[1].timeout: 1h",
		}},
		{"defaults of all", "registries: [{host: '*', insecure: true, caFile: /a, authHosts: [a.b], mirrors: [{host: a.b}]}, {host: '*'}]\n", []string{
			"registries[0].insecure: not for", "registries[0].caFile: not for", "registries[0].authHosts", "registries[0].mirrors", `registries[1].host: "*" is there already`,
		}},
		{"reach", "registries: [{host: a.b, insecure: true, caFile: a, mirrors: [{host: a.b}, {host: '*'}, {host: m.b/hub/}, {host: 'm.b/hub:1'}, {host: m.b/hub}], authHosts: ['x/y']}]\n", []string{
			"registries[0].caFile: ", "registries[0].insecure: ", `mirrors[0].host: "a.b" is there already`, "mirrors[1].host", `mirrors[2].host: "hub/" is no path`, `mirrors[3].host: "hub:1" is no path`, "authHosts[0]",
		}},
		{"network", "network: {allow: [10.0.0.1, 10.0.0.1/8], deny: ['::/129']}\n", []string{
			`network.allow[0]: "10.0.0.1" is no CIDR`, "want 10.0.0.0/8", "network.deny[0]",
		}},
		{"registration", "registration: {name: A_b, pin: [workloads]}\n", []string{`registration.name: "A_b" is no name`, "registration.pin: [\"workloads\"]: want [workloads, pods]"}},
		{"nothing to pin", "registration: {pin: []}\n", []string{"registration.pin: []: want"}},
		{"serving", "certificates: {mode: magic, secret: A_b, service: ''}\nobservability: {pprof: ':6060', tracing: 'ftp://x'}\n", []string{
			"certificates.mode", "certificates.secret", "certificates.service", "observability.pprof", "observability.tracing",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(head + tt.body))
			if err == nil {
				t.Fatalf("Parse(%q) = nil, want %q", tt.body, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Parse(%q) = %v, want it to name %q", tt.body, err, want)
				}
			}
			if got := len(strings.Split(err.Error(), "\n")); got != len(tt.want) {
				t.Errorf("Parse(%q) names %d mistakes, want %d:\n%v", tt.body, got, len(tt.want), err)
			}
		})
	}
}

// TestObservability: profiles are for who is on the machine alone, and an endpoint holds no secret.
func TestObservability(t *testing.T) {
	for _, tt := range []struct {
		field, value string
		ok           bool
	}{
		{"pprof", "localhost:6060", true},
		{"pprof", "127.0.0.1:6060", true},
		{"pprof", "[::1]:6060", true},
		{"pprof", ":6060", false},
		{"pprof", "0.0.0.0:6060", false},
		{"pprof", "[::]:6060", false},
		{"pprof", "10.0.0.1:6060", false},
		{"pprof", "localhost.example:6060", false},
		{"pprof", "localhost", false},
		{"pprof", "localhost:0", false},
		{"tracing", "http://collector:4318", true},
		{"tracing", "https://collector.example/otlp/v1/traces", true},
		{"tracing", "grpc://collector:4317", false},
		{"tracing", "collector:4318", false},
		{"tracing", "http://:4318", false},
		{"tracing", "http://user:secret@collector:4318", false},
		{"tracing", "http://collector:4318?token=secret", false},
		{"tracing", "http://collector:4318#secret", false},
	} {
		_, err := config.Parse(fmt.Appendf(nil, "%sobservability: {%s: %q}\n", head, tt.field, tt.value))
		if (err == nil) != tt.ok {
			t.Errorf("%s %q: %v, want ok %t", tt.field, tt.value, err, tt.ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %q: the error repeats a secret: %v", tt.field, tt.value, err)
		}
	}
}

func TestFormatIsNamed(t *testing.T) {
	for _, data := range []string{"", "# nothing\n", "kind: Config\n", "apiVersion: tagpin.dev/v2\nkind: Config\n", "[]", "\t"} {
		if _, err := config.Parse([]byte(data)); err == nil {
			t.Errorf("Parse(%q) = nil, want an error", data)
		}
	}
}

func FuzzParse(f *testing.F) {
	whole, err := os.ReadFile(filepath.Join("testdata", "whole.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(head + "registries: [{host: '*'}, null, 1]\n"))
	f.Add([]byte(head + "a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			return
		}
		written, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(written)
		if err != nil {
			t.Fatalf("Parse(%q), written from %q = %v", written, data, err)
		}
		if first, second := written, must(yaml.Marshal(again)); string(first) != string(second) {
			t.Errorf("written %q, then %q", first, second)
		}
	})
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 5 * time.Minute: "5m", 30 * time.Second: "30s",
		time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", 0: "0s", 10 * time.Minute: "10m", 20 * time.Hour: "20h",
	} {
		if got := config.Duration(in).String(); got != want {
			t.Errorf("Duration(%d).String() = %s, want %s", in, got, want)
		}
		if back, err := time.ParseDuration(want); err != nil || back != in {
			t.Errorf("ParseDuration(%s) = %s, %v, want %s", want, back, err, in)
		}
	}
}
