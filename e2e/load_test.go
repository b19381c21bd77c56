// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/tagpin/tagpin/e2e/load"
)

// TestLoad checks what other tests rely on: the dry runs of a load are pinned and store nothing.
func TestLoad(t *testing.T) {
	var images []string
	for _, tag := range []string{"a", "b", "c"} {
		reference, _ := push(t, env.Open, repository(t)+":"+tag)
		images = append(images, reference)
	}
	enforced, off := newNamespace(t, "enforce"), newNamespace(t, "off")
	run := func(n int, ns string) load.Result {
		options := load.Options{N: n}
		return load.Start(t.Context(), options, load.Pods(env.Client, ns, images)).Wait()
	}
	const n = 300
	if r := run(n, enforced); r.Pinned != n {
		t.Errorf("in enforce: %s, want %d pinned", r, n)
	}
	if r := run(10, off); r.Unpinned != 10 {
		t.Errorf("in off: %s, want 10 unpinned", r)
	}
	if r := run(10, "nowhere"); r.Failed != 10 {
		t.Errorf("in a missing namespace: %s, want 10 failed", r)
	}
	if stored := kubectl(t, "", "get", "pods", "-n", enforced, "-o", "name"); stored != "" {
		t.Errorf("stored pods = %s, want none", stored)
	}
}
