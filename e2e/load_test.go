// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/tagpin/tagpin/e2e/load"
)

// TestLoad is what the loads of others rely on: dry runs through the API server are pinned, and stored nowhere.
func TestLoad(t *testing.T) {
	var images []string
	for _, tag := range []string{"a", "b", "c"} {
		reference, _ := push(t, env.Open, repository(t)+":"+tag)
		images = append(images, reference)
	}
	enforced, off := newNamespace(t, "enforce"), newNamespace(t, "off")
	const n = 300
	if r := load.Start(t.Context(), load.Options{N: n}, load.Pods(env.Client, enforced, images)).Wait(); r.Pinned != n {
		t.Errorf("in enforce: %s, want %d pinned", r, n)
	}
	if r := load.Start(t.Context(), load.Options{N: 10}, load.Pods(env.Client, off, images)).Wait(); r.Unpinned != 10 {
		t.Errorf("in off: %s, want 10 unpinned", r)
	}
	if r := load.Start(t.Context(), load.Options{N: 10}, load.Pods(env.Client, "nowhere", images)).Wait(); r.Failed != 10 {
		t.Errorf("in no namespace: %s, want 10 failed", r)
	}
	if stored := kubectl(t, "", "get", "pods", "-n", enforced, "-o", "name"); stored != "" {
		t.Errorf("pods = %s, want none", stored)
	}
}
