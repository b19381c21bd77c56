// SPDX-License-Identifier: Apache-2.0

package certificate_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// mount writes a new certificate to the files of a folder.
func mount(t *testing.T, dir string) {
	t.Helper()
	s := newStore()
	renew(t, s, settled)
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), s.secret.Data[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMounted checks that a new certificate in the files is served, and that the former one is
// served while the files can't be used.
func TestMounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var messages []string
		source := certificate.NewSource(time.Now, funcr.New(func(_, line string) {
			messages = append(messages, line)
		}, funcr.Options{}), prometheus.NewRegistry())
		dir := t.TempDir()
		mount(t, dir)
		files := certificate.Mounted(dir)
		first, err := files.Look()
		if err != nil {
			t.Fatal(err)
		}
		source.Serve(first)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		var failures []error
		go func() {
			defer close(done)
			files.Poll(ctx, source.ServeValid, func(_ *tls.Certificate, err error) {
				if err != nil {
					failures = append(failures, err)
				}
			})
		}()
		next := func() {
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		mount(t, dir)
		next()
		second := source.Leaf()
		if second == first {
			t.Error("after a change, the former certificate is served")
		}
		if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("half of a"), 0o600); err != nil {
			t.Fatal(err)
		}
		next()
		next()
		if err := source.Ready(nil); err != nil || source.Leaf() != second {
			t.Errorf("invalid files: Ready = %v, serves the former certificate: %t, want no error and true",
				err, source.Leaf() == second)
		}
		mount(t, dir)
		next()
		if source.Leaf() == second {
			t.Error("the files are valid again, but the former certificate is served")
		}
		cancel()
		<-done
		if len(failures) != 1 || len(messages) != 3 {
			t.Errorf("%d failures, want 1: %v; %d log lines, want one for each of 3 certificates: %q",
				len(failures), failures, len(messages), messages)
		}
	})
}

// TestNotValidYet checks that a certificate that is not valid yet does not replace a valid one. A
// source that has no other one serves it, but is not ready.
func TestNotValidYet(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir)
	early, err := certificate.Mounted(dir).Look()
	if err != nil {
		t.Fatal(err)
	}
	// The clock of the machine that issued the certificate is ahead.
	ahead := -90 * time.Minute
	now := func() time.Time { return time.Now().Add(ahead) }
	fresh := certificate.NewSource(now, logr.Discard(), prometheus.NewRegistry())
	if err := fresh.Ready(nil); !errors.Is(err, certificate.ErrNone) {
		t.Errorf("Ready without a certificate = %v, want %v", err, certificate.ErrNone)
	}
	if err := fresh.ServeValid(early); err != nil || fresh.Leaf() != early ||
		!errors.Is(fresh.Ready(nil), certificate.ErrNotValidYet) {
		t.Errorf("without another one: ServeValid = %v, Ready = %v, want nil and %v",
			err, fresh.Ready(nil), certificate.ErrNotValidYet)
	}
	valid := &tls.Certificate{Leaf: &x509.Certificate{
		NotBefore: now().Add(-time.Hour), NotAfter: now().Add(3 * time.Hour),
		SerialNumber: early.Leaf.SerialNumber, Raw: []byte("valid"),
	}}
	source := certificate.NewSource(now, logr.Discard(), prometheus.NewRegistry())
	source.Serve(valid)
	if err := source.ServeValid(early); !errors.Is(err, certificate.ErrNotValidYet) ||
		source.Leaf() != valid {
		t.Errorf("ServeValid = %v, serves the valid one: %t, want %v and true",
			err, source.Leaf() == valid, certificate.ErrNotValidYet)
	}
	ahead = 0
	if err := source.ServeValid(early); err != nil || source.Leaf() != early {
		t.Errorf("later: ServeValid = %v, serves the new one: %t, want nil and true",
			err, source.Leaf() == early)
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	source := certificate.NewSource(time.Now, logr.Discard(), r)
	if got, err := testutil.GatherAndCount(r); got != 0 || err != nil {
		t.Errorf("%d metrics without a certificate, %v, want 0", got, err)
	}
	begin := time.Unix(1_000_000, 0)
	lasting := func(lifetime time.Duration) *x509.Certificate {
		return &x509.Certificate{
			NotBefore: begin, NotAfter: begin.Add(lifetime), SerialNumber: big.NewInt(1),
		}
	}
	source.Serve(&tls.Certificate{Leaf: lasting(24 * time.Hour)})
	source.SetCA(lasting(48 * time.Hour))
	metrics, err := testutil.CollectAndFormat(r, expfmt.TypeTextPlain,
		"tagpin_certificate_expiry_timestamp_seconds", "tagpin_certificate_lifetime_seconds")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(metrics), "\n")
	for _, want := range []string{
		`tagpin_certificate_expiry_timestamp_seconds{kind="ca"} 1.1728e+06`,
		`tagpin_certificate_expiry_timestamp_seconds{kind="leaf"} 1.0864e+06`,
		`tagpin_certificate_lifetime_seconds{kind="ca"} 172800`,
		`tagpin_certificate_lifetime_seconds{kind="leaf"} 86400`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
}
