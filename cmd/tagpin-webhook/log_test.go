// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// signalled is a log, and tells when something is written.
type signalled struct {
	mu      sync.Mutex
	text    strings.Builder
	written chan struct{}
}

func (l *signalled) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.written <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *signalled) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What a registry sends without being asked is in no log, though Go's HTTP client quotes it there.
func TestNothingOfARegistryIsLogged(t *testing.T) {
	out := &signalled{written: make(chan struct{}, 1)}
	logLibraries(newLogger(out, zapcore.InfoLevel))
	t.Cleanup(func() { log.SetOutput(os.Stderr); log.SetFlags(log.LstdFlags) })
	w := registrytest.Start(t, registrytest.Rules{registrytest.Registry: {{Then: registrytest.Answer{
		Raw: "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\nand " + registrytest.Canary,
	}}}})
	c := w.Client(registry.Host{Name: w.Host(registrytest.Registry)})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Manifest(ctx, registry.Request{Ref: ref.MustParse(w.Host(registrytest.Registry) + "/app:1"), Method: http.MethodHead}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.written:
	case <-ctx.Done():
	}
	if text := out.String(); strings.Contains(text, registrytest.Canary) || !strings.Contains(text, "without a request") {
		t.Errorf("the log is %q", text)
	}
	log.Print("something else")
	if text := out.String(); !strings.Contains(text, `"msg":"something else"`) {
		t.Errorf("the log is %q", text)
	}
}

// What client-go has to say is a line of JSON too.
func TestKlog(t *testing.T) {
	out := &signalled{written: make(chan struct{}, 1)}
	logLibraries(newLogger(out, zapcore.InfoLevel))
	t.Cleanup(func() { log.SetOutput(os.Stderr); log.SetFlags(log.LstdFlags); klog.SetOutput(os.Stderr) })
	klog.Warning("of client-go")
	if text := out.String(); !json.Valid([]byte(text)) || !strings.Contains(text, "of client-go") {
		t.Errorf("logged %q, want a line of JSON", text)
	}
}
