// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"slices"
	"testing"

	"github.com/tagpin/tagpin/pkg/registry"
)

// TestLabels checks which registries have a label of their own in metrics.
func TestLabels(t *testing.T) {
	c := &registry.Client{Hosts: []registry.Host{
		{Name: "registry.internal:5000", Mirrors: []registry.Mirror{{Host: "mirror.internal/hub"}}},
		{Name: "quay.io"},
	}}
	for host, want := range map[string]string{
		"registry.internal:5000": "registry.internal:5000",
		"mirror.internal":        "mirror.internal",
		"docker.io":              "docker.io",
		"index.docker.io":        "docker.io",
		"registry-1.docker.io":   "docker.io",
		"GHCR.io:0443":           "ghcr.io",
		"quay.io":                "quay.io",
		"ghcr.io:8443":           "",
		"evil.example":           "",
		"docker.io.evil.example": "",
	} {
		if got := c.Label(host); got != want {
			t.Errorf("Label(%s) = %q, want %q", host, got, want)
		}
		if labels := c.Labels(); want != "" && !slices.Contains(labels, want) {
			t.Errorf("Labels() = %q, want %s in it", labels, want)
		}
	}
	labels := c.Labels()
	slices.Sort(labels)
	if len(slices.Compact(labels)) != len(labels) || slices.Contains(labels, "") {
		t.Errorf("Labels() = %q, want each once, and no empty one", labels)
	}
}
