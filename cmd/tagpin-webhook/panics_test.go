// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tagpin/tagpin/pkg/policy"
)

// TestRecovering checks that a panic while a review is answered becomes an error of that review,
// and is counted and logged with its stack.
func TestRecovering(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	metrics := prometheus.NewRegistry()
	h := &handlers{panics: newPanics(log, metrics)}
	h.current.Store(&state{modes: map[policy.Mode]http.Handler{
		policy.Enforce: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("odd object") }),
	}})
	answer := httptest.NewRecorder()
	h.mode(policy.Enforce).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/enforce", http.NoBody))
	if answer.Code != http.StatusInternalServerError || strings.Contains(answer.Body.String(), "odd") {
		t.Errorf("answer %d %q, want 500 without the panic's text", answer.Code, answer.Body)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "odd object") || !strings.Contains(lines[0], "panics_test.go") {
		t.Errorf("logged %q, want one line with the text and the stack", lines)
	}
	want := `
# HELP tagpin_panics_total Bugs that stopped a review or a lookup. The log has each with its stack.
# TYPE tagpin_panics_total counter
tagpin_panics_total 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "tagpin_panics_total"); err != nil {
		t.Error(err)
	}
}
