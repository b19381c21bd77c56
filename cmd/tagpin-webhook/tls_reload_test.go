// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/config"
)

// valueOf returns the value of the gauge of TLS files.
func valueOf(t *testing.T, g *prometheus.GaugeVec, files string) float64 {
	t.Helper()
	var m dto.Metric
	if err := g.WithLabelValues(files).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}

// TestRefusedTLSFiles checks that the gauge is 0 as long as the files of the certificate or of the
// client CA are refused, that the log says why, and that the former ones stay in use.
func TestRefusedTLSFiles(t *testing.T) {
	dir := t.TempDir()
	(&instance{t: t}).certificates(dir)
	for file, label := range map[string]string{
		"tls.crt": certificateFiles, "client-ca.crt": clientCAFiles,
	} {
		path := filepath.Join(dir, file)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			gauge := newTLSReloads(prometheus.NewRegistry())
			var logged []string
			log := funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{})
			task, used := taskOf(t, label, dir, gauge, log)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- task(ctx) }()
			for _, step := range []struct {
				text string
				want float64
				uses int
			}{{"no PEM", 0, 0}, {"no PEM either", 0, 0}, {string(good), 1, 0}, {string(good) + "\n", 1, 1}} {
				if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
					t.Fatal(err)
				}
				time.Sleep(11 * time.Second) // more than each interval
				synctest.Wait()
				if got := valueOf(t, gauge, label); got != step.want || *used != step.uses {
					t.Errorf("%s: gauge %v after %d new values, want %v and %d",
						label, got, *used, step.want, step.uses)
				}
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(logged) == 0 || !strings.Contains(logged[0], path) || !strings.Contains(logged[0], "TLS files refused") {
				t.Errorf("%s: logged %q, want the file and the reason", label, logged)
			}
		})
	}
}

// TestRefusedRegistryFiles checks that the gauge is 0 as long as TLS files of a registry are
// refused, that the log says why, and that no lookup is needed for that. A config without the
// registry ends it.
func TestRefusedRegistryFiles(t *testing.T) {
	dir := t.TempDir()
	(&instance{t: t}).certificates(dir)
	path := filepath.Join(dir, "client-ca.crt")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var logged []string
		log := funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{})
		without, with := config.Default(), *config.Default()
		r := with.Registries[0]
		r.Host, r.CAFile = "registry.internal", path
		with.Registries = append([]config.Registry{r}, with.Registries...)
		h, err := newHandlers(&with, log, prometheus.NewRegistry(), apiServer{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.close()
		gauge := newTLSReloads(prometheus.NewRegistry())
		task := watchRegistryFiles(h.lookAtFiles, gauge, log)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- task(ctx) }()
		for _, step := range []struct {
			text  string
			want  float64
			lines int
		}{{string(good), 1, 0}, {"no PEM", 0, 1}, {"no PEM", 0, 1}, {string(good), 1, 2}, {"", 0, 3}} {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(registryFilesInterval + time.Second)
			synctest.Wait()
			if got := valueOf(t, gauge, registryFiles); got != step.want || len(logged) != step.lines {
				t.Errorf("%.9q: gauge %v, log %q, want %v and %d lines", step.text, got, logged, step.want, step.lines)
			}
		}
		if err := h.load(without); err != nil {
			t.Fatal(err)
		}
		time.Sleep(registryFilesInterval + time.Second)
		if got := valueOf(t, gauge, registryFiles); got != 1 {
			t.Errorf("without the registry: gauge %v, want 1", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, want := range []string{path, "registry.internal", "TLS files refused", registryFiles} {
			if len(logged) == 0 || !strings.Contains(logged[0], want) {
				t.Errorf("logged %q, want %s in the first line", logged, want)
			}
		}
	})
}

// taskOf returns the task that reads files in dir again, and the number of values that it has put
// into use.
func taskOf(
	t *testing.T, label, dir string, gauge *prometheus.GaugeVec, log logr.Logger,
) (task func(context.Context) error, used *int) {
	t.Helper()
	used = new(int)
	if label == certificateFiles {
		files := certificate.Mounted(dir)
		return rereadTLS(label, files, countUses(t, files.Look, used), gauge, log), used
	}
	files := clientCAs(filepath.Join(dir, "client-ca.crt"))
	return rereadTLS(label, files, countUses(t, files.Look, used), gauge, log), used
}

// countUses looks at files once, as the server does at its start, and returns a function that
// counts the values that come into use after that.
func countUses[T any](t *testing.T, look func() (T, error), used *int) func(T) error {
	t.Helper()
	if _, err := look(); err != nil {
		t.Fatal(err)
	}
	return func(T) error { *used++; return nil }
}
