// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// TestFailedProbesAreLoggedOnce checks that the log says why a probe fails when the reason changes,
// and not at each probe. (Package reminder says it again after a while.)
func TestFailedProbesAreLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, zapcore.InfoLevel)
	ctrllog.SetLogger(log)
	var now error
	probes := probesHandler(log, map[string]healthz.Checker{
		"certificate": func(*http.Request) error { return now },
	})
	expired := errors.New("the certificate has expired")
	for _, now = range []error{
		nil, expired, expired, expired, nil, nil, errDraining, errDraining, expired,
	} {
		w := httptest.NewRecorder()
		probes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
		if ready := w.Code == http.StatusOK; ready != (now == nil) {
			t.Errorf("GET /readyz = %d with %v", w.Code, now)
		}
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var entry struct{ Level, Msg, Error, Reason, Check string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s: %s", entry.Level, entry.Check, entry.Msg, entry.Error+entry.Reason))
	}
	want := []string{
		"error certificate not ready: the certificate has expired",
		"info certificate ready again: ",
		"info certificate not ready: draining",
		"error certificate not ready: the certificate has expired",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log: -want +got\n%s", diff)
	}
}
