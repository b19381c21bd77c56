// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// FuzzScan scans arbitrary texts. It checks that the pointer of each reference leads to its text in
// the decoded object.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"name":"a","image":"b"}],
		"volumes":[{"name":"v","image":{"reference":"r"}}]}}`))
	f.Add([]byte(`{"metadata":{"annotations":{"tagpin.dev/pins":"{}"}},
		"spec":{"imagePullSecrets":[{"name":"s"}]}}`))
	f.Add([]byte(`{"spec":{"containers":[{"im\u0061ge":"\ud83d\ude00"}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		o, err := new(workload.Table).Scan(pod, raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("Scan wrote to its input")
		}
		if (err == nil) && !json.Valid(raw) && bytes.Equal(raw, bytes.ToValidUTF8(raw, nil)) {
			t.Fatalf("Scan(%q) = nil error, want one for invalid JSON", raw)
		}
		if err != nil {
			return
		}
		var decoded map[string]any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber() // Decode fails for numbers that a float64 can't hold
		if err := d.Decode(&decoded); err != nil {
			return // the object has duplicate names with values of different types
		}
		for _, s := range o.PodSpecs {
			for _, r := range s.References {
				if len(r.Text) > ref.MaxLength {
					continue
				}
				if r.Pointer != "" && strings.Count(string(raw), `"spec"`) == 1 &&
					!bytes.ContainsRune(raw, '\\') && !mayHaveDuplicates(raw) {
					checkPointer(t, decoded, r)
				}
			}
		}
	})
}

// mayHaveDuplicates reports whether an object may contain a field twice that leads to a reference.
// Decoders disagree about such objects, and about texts that are not UTF-8.
func mayHaveDuplicates(raw []byte) bool {
	for _, name := range []string{
		"containers", "initContainers", "ephemeralContainers", "volumes", "image", "reference", "spec",
	} {
		if strings.Count(strings.ToLower(string(raw)), strings.ToLower(name)) > 1 {
			return true
		}
	}
	return !bytes.Equal(raw, bytes.ToValidUTF8(raw, nil))
}

// checkPointer fails if the pointer of a reference does not lead to its text in v.
func checkPointer(t *testing.T, v any, r workload.Reference) {
	t.Helper()
	for _, step := range strings.Split(r.Pointer[1:], "/") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(at) {
				t.Fatalf("pointer %s leads nowhere", r.Pointer)
			}
			v = at[i]
		}
	}
	if v != r.Text {
		t.Fatalf("Text = %q, want %v, the value at %s", r.Text, v, r.Pointer)
	}
}

// benchPod returns a pod of about 2 KB with two containers, similar to those of real controllers.
func benchPod() []byte {
	container := func(name string) string {
		return `{"name":"` + name + `","image":"registry.example/team/` + name + `:1.2",
			"imagePullPolicy":"IfNotPresent","env":[` +
			strings.Repeat(`{"name":"SOME_VARIABLE","value":"vvvvvvvvvvvvvvvvvvvvvvvv"},`, 6) + `{}],
			"resources":{"limits":{"memory":"128Mi"},"requests":{"cpu":"100m"}},
			"volumeMounts":[{"name":"kube-api-access-x","readOnly":true,
				"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}`
	}
	return []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"app-5d9c-",
		"labels":{"app":"app","pod-template-hash":"5d9c"},
		"managedFields":[{"manager":"kube-controller-manager",
			"fieldsV1":{"f:metadata":{"f:labels":{".":{}}}}}],
		"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-5d9c","uid":"u",
			"controller":true}]},
		"spec":{"containers":[` + container("app") + `,` + container("proxy") + `],
		"tolerations":[{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"}]}}`)
}

// BenchmarkScan compares Scan with json.Valid on the same bytes.
func BenchmarkScan(b *testing.B) {
	raw := benchPod()
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := new(workload.Table).Scan(pod, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			json.Valid(raw)
		}
	})
}
