// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

	"github.com/tagpin/tagpin/pkg/process"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// TestNothingOfARegistryIsLogged checks that the log does not have what a registry sends without a
// request, which Go's HTTP client logs.
func TestNothingOfARegistryIsLogged(t *testing.T) {
	out := &lines{more: make(chan struct{}, 1)}
	process.LogLibraries(newLogger(out, zapcore.InfoLevel))
	t.Cleanup(func() { log.SetOutput(os.Stderr); log.SetFlags(log.LstdFlags) })
	w := registrytest.Start(t, registrytest.Rules{registrytest.Registry: {{Then: registrytest.Answer{
		Raw: "HTTP/1.1 200 OK\r\nContent-Type: " + registrytest.ImageType + "\r\nDocker-Content-Digest: " +
			registrytest.Image.Header["Docker-Content-Digest"] + "\r\nContent-Length: 0\r\n\r\nand " + registrytest.Canary,
	}}}})
	c := w.Client(registry.Host{Name: w.Host(registrytest.Registry)})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	image := ref.MustParse(w.Host(registrytest.Registry) + "/app:1")
	if _, err := c.Digest(ctx, registry.Request{Ref: image}); err != nil {
		t.Fatal(err)
	}
	out.await(t, "without a request")
	if text := out.String(); strings.Contains(text, registrytest.Canary) {
		t.Errorf("log = %q, want nothing of the registry's", text)
	}
	log.Print("something else")
	if text := out.String(); !strings.Contains(text, `"msg":"something else"`) {
		t.Errorf("log = %q", text)
	}
}

// TestKlog checks that lines of client-go are JSON too.
func TestKlog(t *testing.T) {
	out := &lines{more: make(chan struct{}, 1)}
	process.LogLibraries(newLogger(out, zapcore.InfoLevel))
	t.Cleanup(func() {
		log.SetOutput(os.Stderr)
		log.SetFlags(log.LstdFlags)
		klog.SetOutput(os.Stderr)
	})
	klog.Warning("of client-go")
	if text := out.String(); !json.Valid([]byte(text)) || !strings.Contains(text, "of client-go") {
		t.Errorf("logged %q, want a line of JSON", text)
	}
}
