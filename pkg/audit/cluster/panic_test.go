// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"testing"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestPanic checks that a pod whose reading panics counts as one container, which is unknown,
// whatever was read of it before, and that it does not end the list.
func TestPanic(t *testing.T) {
	for name, tt := range map[string]struct {
		listed string    // the namespace
		before audit.Pod // what was read
		want   string
	}{
		"after the metadata": {"", audit.Pod{
			Namespace: "ns", Name: "p", Owner: audit.Owner{Group: "apps", Kind: "DaemonSet", Name: "d"},
		}, "ns DaemonSet/d"},
		"a pod by itself":          {"", audit.Pod{Namespace: "ns", Name: "p"}, "ns Pod/p"},
		"in a namespace":           {"ns", audit.Pod{}, "ns Pod/(unread)"},
		"in one of all namespaces": {"", audit.Pod{}, "(unknown) Pod/(unread)"},
	} {
		reported := 0
		r := Reader{Panics: &panics.Reporter{Report: func(*panics.Error) { reported++ }}}
		p, err := r.readPod(tt.listed, func(p *audit.Pod) error {
			*p = tt.before
			p.Containers = []audit.Container{{Name: "c"}}
			panic("a bug")
		})
		if err != nil || reported != 1 {
			t.Errorf("%s: readPod = %v, %d reported, want no error and one", name, err, reported)
		}
		c := &audit.Collector{}
		c.Add(p)
		client := &registry.Client{}
		images := &resolve.Mirrors{Client: client, Next: &resolve.Registry{Client: client}}
		report, err := (&audit.Auditor{Images: images}).Report(t.Context(), c)
		client.Close()
		if err != nil || len(report.Containers) != 1 {
			t.Fatalf("%s: Report = %+v, %v, want one row", name, report, err)
		}
		f := report.Containers[0]
		got := fmt.Sprintf("%s %s (%d): %v %v", f.Namespace, f.Workload, f.Count, f.States, f.Details)
		if want := tt.want + " (1): [unknown] [internal error while reading a pod]"; got != want {
			t.Errorf("%s: row %s, want %s", name, got, want)
		}
	}
}
