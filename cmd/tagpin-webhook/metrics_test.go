// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// refusing is an API server that answers each read differently.
type refusing struct{}

func (refusing) get(_ context.Context, _, resource, name string, into any) error {
	group := schema.GroupResource{Resource: resource}
	secret, ok := into.(*corev1.Secret)
	if !ok {
		return nil
	}
	switch name {
	case "missing":
		return apierrors.NewNotFound(group, name)
	case "forbidden":
		return apierrors.NewForbidden(group, name, nil)
	case "malformed":
		secret.Type = corev1.SecretTypeDockerConfigJson
		secret.Data = map[string][]byte{corev1.DockerConfigJsonKey: []byte("{")}
		return nil
	case "opaque":
		secret.Type = corev1.SecretTypeOpaque
		return nil
	}
	return errors.New("no answer")
}

func (refusing) list(
	_ context.Context, r sibling.Revision, _ string, _ func([]byte) error,
) (string, error) {
	if r.Namespace == "team" {
		return "", nil
	}
	return "", errors.New("no answer")
}

// hostile returns texts that tenants may put into any field.
func hostile(registry string) []string {
	texts := []string{
		registry + "/app:1", registry + "/none:1", registry + `/app:1"} 1`, "\n# HELP x y\n", `{registry="x"}`, strings.Repeat("h", 300) + ".example/a:1",
		"127.0.0.2:1/a:1", "169.254.169.254/latest:1", "[::1]:1/a", "docker.io/library/auto:latest", "\u0085\u202e", "",
	}
	for n := range 50 {
		texts = append(texts, fmt.Sprintf("127.0.0.%d:%d/a:1", 3+n, 1+n))
	}
	return texts
}

// drive sends reviews of all kinds to the handlers of a server, and returns the metrics and the
// registry that the config names.
func drive(t *testing.T) (families []*dto.MetricFamily, named string) {
	t.Helper()
	i := &instance{t: t}
	i.push()
	c, err := config.Parse(fmt.Appendf(nil, "apiVersion: tagpin.dev/v1alpha1\nkind: Config\nnetwork: {allow: [127.0.0.1/32]}\nregistries: [{host: %q, insecure: true}]\n", i.registry))
	if err != nil {
		t.Fatal(err)
	}
	r := newRegistry()
	h, err := newHandlers(c, logr.Discard(), r, apiServer{get: refusing{}.get, list: refusing{}.list})
	if err != nil {
		t.Fatal(err)
	}
	traces, err := newTracing(t.Context(), "http://127.0.0.1:1", logr.Discard(), r)
	if err != nil {
		t.Fatal(err)
	}
	newReloads(r)(errors.New("bad"))
	reloads := newTLSReloads(r)
	for _, files := range []string{certificateFiles, clientCAFiles, registryFiles} {
		reloads.WithLabelValues(files)
	}
	texts := hostile(i.registry)
	for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
		for n, text := range texts {
			for _, namespace := range []string{"team", text} {
				secrets := []string{"missing", "forbidden", "malformed", "opaque", text}
				post(t, traces.wrap(h.mode(mode)), podOf(text, namespace, secrets[n%len(secrets)]))
			}
		}
		post(t, h.mode(mode), "no review")
	}
	h.close()
	traces.close()
	families, err = r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families, i.registry
}

// podOf returns the review of a pod of a ReplicaSet that has a text in many fields.
func podOf(text, namespace, secret string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":%[1]q,"operation":"CREATE","name":%[1]q,
		"namespace":%[2]q,"kind":{"group":"","version":%[1]q,"kind":"Pod"},"userInfo":{"username":%[1]q},"object":{"apiVersion":"v1","kind":"Pod",
		"metadata":{"name":%[1]q,"labels":{"pod-template-hash":"1"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":%[1]q,"uid":%[1]q,"controller":true}]},
		"spec":{"serviceAccountName":%[1]q,"imagePullSecrets":[{"name":%[3]q}],"containers":[{"name":%[1]q,"image":%[1]q}]}}}}`, text, namespace, secret)
}

func post(t *testing.T, h http.Handler, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?timeout=10s", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(httptest.NewRecorder(), r)
}

var word = regexp.MustCompile(`[A-Za-z0-9-]+`)

// TestLabelsAreClosedSets checks that each value of a label is one that the help of the metric
// names, a registry that the config names, or a well-known one, which the page lists, whatever
// tenants write.
func TestLabelsAreClosedSets(t *testing.T) {
	families, named := drive(t)
	table, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tagpin_") {
			continue
		}
		seen++
		if !strings.Contains(string(table), "| `"+f.GetName()+"` |") {
			t.Errorf("%s is not in the documentation", f.GetName())
		}
		allowed := word.FindAllString(f.GetHelp(), -1)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				ok := slices.Contains(allowed, l.GetValue()) ||
					l.GetName() == "registry" && (l.GetValue() == named || strings.Contains(string(table), "`"+l.GetValue()+"`"))
				if !ok && f.GetName() != "tagpin_build_info" {
					t.Errorf("%s{%s=%q}: the help does not name the value",
						f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	if seen < 12 {
		t.Errorf("%d metrics, want at least 12", seen)
	}
}

// TestMetricsByConvention runs Prometheus' linter on the metrics.
func TestMetricsByConvention(t *testing.T) {
	families, _ := drive(t)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestCountersBeginAtZero checks that counters of failures begin at 0. Otherwise their first
// increase would not be seen.
func TestCountersBeginAtZero(t *testing.T) {
	r := prometheus.NewRegistry()
	newReloads(r)
	h, err := newHandlers(config.Default(), logr.Discard(), r, apiServer{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var series []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			series = append(series, f.GetName()+" "+strings.Join(values, " "))
		}
	}
	for _, want := range []string{
		"tagpin_admission_reviews_total enforce denied", "tagpin_keychain_reads_total secret forbidden", "tagpin_sibling_lists_total forbidden",
		"tagpin_config_reloads_total refused", "tagpin_config_last_reload_successful ",
	} {
		if !slices.Contains(series, want) {
			t.Errorf("the series of a new server lack %q: %q", want, series)
		}
	}
}
