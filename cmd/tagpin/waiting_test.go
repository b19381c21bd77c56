// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/registry"
)

// deployment returns a Deployment with containers.
func deployment(containers string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: shop}\nspec:\n" +
		"  template:\n    spec:\n      containers:\n" + containers
}

// container returns a container with an image of its own.
func container(host string, i int) string {
	return fmt.Sprintf("      - {name: c%d, image: %q}\n", i, fmt.Sprintf("%s/app%d:1", host, i))
}

// TestOneUser checks that the lookups of one namespace may use all slots of a registry, because
// they are all for one user. The registry answers when it has been asked as often as it may be.
func TestOneUser(t *testing.T) {
	var asked sync.WaitGroup
	asked.Add(registry.DefaultMaxInFlight)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	all := make(chan struct{})
	go func() { asked.Wait(); close(all) }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		asked.Done()
		select {
		case <-all:
		case <-ctx.Done():
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", emptyDigest)
	}))
	defer server.Close()
	var containers strings.Builder
	for i := range registry.DefaultMaxInFlight {
		containers.WriteString(container(strings.TrimPrefix(server.URL, "http://"), i))
	}
	input := strings.NewReader(deployment(containers.String()))
	var out, messages strings.Builder
	code := run(ctx, []string{"tagpin", "pin", "-"}, input, &out, &messages)
	if pins := strings.Count(out.String(), emptyDigest); code != exitOK ||
		pins != registry.DefaultMaxInFlight {
		t.Errorf("pin = %d with %d pins, want %d; %s", code, pins, registry.DefaultMaxInFlight,
			messages.String())
	}
}

// TestOneRegistryWaits checks that a registry that limits its requests holds up no lookup at
// another one, however many images wait for it.
func TestOneRegistryWaits(t *testing.T) {
	const many = 300
	limited, _ := busy(t, 1<<30, http.StatusTooManyRequests, "3600")
	var one, list strings.Builder
	var documents []string
	for i := range many {
		one.WriteString(container(limited, i))
		fmt.Fprintf(&list, "%s/app%d:1\n", limited, i)
		documents = append(documents, deployment(container(limited, i)))
	}
	for _, tt := range []struct {
		name, command string
		content       func(other string) string
	}{
		{"objects", "pin", func(other string) string {
			return strings.Join(append(documents, deployment(container(other, 0))), "---\n")
		}},
		{"containers", "pin", func(other string) string {
			return deployment(one.String() + container(other, many))
		}},
		{"images", "resolve", func(other string) string { return list.String() + other + "/app:1\n" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context()) // a deadline would end the waits
			defer time.AfterFunc(30*time.Second, cancel).Stop()
			defer cancel()
			asked := make(chan struct{}, 1)
			other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				select {
				case asked <- struct{}{}:
				default:
				}
				cancel()
			}))
			defer other.Close()
			path := filepath.Join(t.TempDir(), "a.yaml")
			content := tt.content(strings.TrimPrefix(other.URL, "http://"))
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"tagpin", tt.command, "--timeout", "0", path}
			if tt.command == "resolve" {
				args[len(args)-1] = "-"
			}
			run(ctx, args, strings.NewReader(content), io.Discard, io.Discard)
			select {
			case <-asked:
			default:
				t.Errorf("%s: the other registry was not asked while the first one was waited for",
					tt.command)
			}
		})
	}
}
