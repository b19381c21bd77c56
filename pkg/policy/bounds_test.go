// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestHeldOfHugeObjects tests how much memory is held for an object while its lookups run. It must
// be small whatever the author wrote: the API server only validates an object after the webhooks.
func TestHeldOfHugeObjects(t *testing.T) {
	const size = 1 << 20
	long := strings.Repeat("\x7f", size)
	secrets := strings.Repeat(`{"name":"0123456"},`, size/20)
	hash := workload.LabelPodTemplateHash
	spec := func(s string) string { return `{"spec":{` + s + `}}` }
	images := func(s string) string { return spec(`"containers":[` + s + `]`) }
	meta := func(s string) string { return `{"metadata":{` + s + `},"spec":{}}` }
	owner := func(s string) string {
		return meta(`"ownerReferences":[{"controller":true,` + s + `}]`)
	}
	for name, raw := range map[string]string{
		"image":         images(`{"image":"a.b/c:1"},{"name":"b","image":"` + long + `"}`),
		"escaped image": images(`{"image":"` + strings.Repeat(`\u007f`, size/6) + `"}`),
		"path":          images(`{"image":"` + strings.Repeat("a/", size/2) + `a"}`),
		"host":          images(`{"image":"` + strings.Repeat("a.", size/2) + `a/b"}`),
		"blanks":        images(`{"image":"` + strings.Repeat(" ", size) + `"}`),
		"volume image":  spec(`"volumes":[{"name":"v","image":{"reference":"` + long + `"}}]`),
		"container":     images(`{"image":"a","name":"` + long + `"}`),
		"pull policy":   images(`{"image":"a","imagePullPolicy":"` + long + `"}`),
		"volume":        spec(`"volumes":[{"name":"` + long + `","image":{"reference":"a"}}]`),
		"account":       spec(`"serviceAccountName":"` + long + `"`),
		"old account":   spec(`"serviceAccount":"` + long + `"`),
		"secret":        spec(`"imagePullSecrets":[{"name":"` + long + `"}]`),
		"secrets":       spec(`"imagePullSecrets":[` + secrets + `{}]`),
		"version":       `{"apiVersion":"` + long + `","spec":{}}`,
		"object":        meta(`"name":"` + long + `"`),
		"generated":     meta(`"generateName":"` + long + `"`),
		"namespace":     meta(`"namespace":"` + long + `"`),
		"created":       meta(`"creationTimestamp":"` + long + `"`),
		"label":         meta(`"labels":{"` + hash + `":"` + long + `"}`),
		"pins":          meta(`"annotations":{"` + workload.AnnotationPins + `":"` + long + `"}`),
		"owner's kind":  owner(`"kind":"` + long + `"`),
		"owner's UID":   owner(`"uid":"` + long + `"`),
		"owner":         owner(`"name":"` + long + `"`),
		"owner's group": owner(`"apiVersion":"` + long + `"`),
	} {
		if most, got := uint64(64<<10), heldOf(t, raw); got > most {
			t.Errorf("%s: heldOf = %d bytes, want at most %d", name, got, most)
		}
	}
}

// heldOf returns how many bytes are held for a Pod after it was scanned and decided about.
func heldOf(t *testing.T, raw string) uint64 {
	t.Helper()
	type held struct {
		object *workload.Object
		plan   policy.Plan
	}
	all := make([]held, 4)
	before := heap()
	for i := range all {
		o, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = held{o, new(policy.Policy).Decide(policy.Input{Operation: policy.Create, Object: o})}
	}
	after := heap()
	runtime.KeepAlive(all)
	return max(after, before)/uint64(len(all)) - before/uint64(len(all))
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a sync.Pool keeps its items for one collection
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestLongImages tests that no error quotes the whole of a long text, and that two long texts with
// the same beginning are not confused.
func TestLongImages(t *testing.T) {
	long := strings.Repeat("a/", 1<<20)
	o, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, fmt.Appendf(nil,
		`{"spec":{"containers":[{"image":%q},{"name":"b","image":%q}]}}`, long+"a", long+"b"))
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{Operation: policy.Create, Object: o}
	for _, d := range new(policy.Policy).Decide(in).Decisions {
		if d.Reason != policy.TooLong || d.Action != policy.Resolve || len(d.ParseErr.Error()) > 1024 {
			t.Errorf("Decide(%.9s…) = %s, %d, error %.1100s, want too-long and a short error",
				d.Reference.Text, d.Reason, d.Action, d.ParseErr)
		}
	}
	if r := o.PodSpecs[0].References; r[0].Text == r[1].Text {
		t.Error("Scan gives two long images the same text, want different ones")
	}
}

// TestLongImageTakesNoDigest tests that an image that is too long does not take the digest of an
// author's pin without a tag, which has no text either.
func TestLongImageTakesNoDigest(t *testing.T) {
	pinned := `{"name":"a","image":"nginx@sha256:` + strings.Repeat("1", 64) + `"}`
	long := `{"name":"b","image":"` + strings.Repeat("a.", 200) + `example/x:1"}`
	deployment := workload.Kind{Group: "apps", Kind: "Deployment"}
	scan := func(containers string) *workload.Object {
		o, err := new(workload.Table).Scan(deployment, []byte(
			`{"spec":{"template":{"spec":{"containers":[`+containers+`]}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	p := &policy.Policy{Output: policy.DigestOnly}
	plan := p.Decide(policy.Input{
		Operation: policy.Update, Object: scan(pinned + "," + long), Old: scan(pinned),
	})
	if d := plan.Decisions[1]; d.Reason != policy.TooLong || !d.Held.IsZero() {
		t.Errorf("Decide = %s, held %s, want too-long", d.Reason, d.Held)
	}
}
