// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestExplain checks what the operator reads about pull secrets that gave no credential.
func TestExplain(t *testing.T) {
	opaque, broken := secret("x"), secret("x")
	opaque.Type = corev1.SecretTypeOpaque
	broken.Data[corev1.DockerConfigJsonKey] = []byte(`canary`)
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "one", errors.New("rbac"))
	for _, tt := range []struct {
		name  string
		id    workload.Identity
		image string
		err   error // of the API server
		want  string
	}{
		{"missing", workload.Identity{PullSecrets: []string{"none"}}, "", nil, `pull secret "none": it does not exist`},
		{"no name", workload.Identity{PullSecrets: []string{"a/b"}}, "", nil, `pull secret "a/b": it does not exist`},
		{"forbidden", workload.Identity{PullSecrets: []string{"one"}}, "", forbidden, `pull secret "one": tagpin is not allowed to read it`},
		{"no answer", workload.Identity{PullSecrets: []string{"one"}}, "", errors.New("down"), `pull secret "one": the API server did not answer`},
		{"another type", workload.Identity{PullSecrets: []string{"opaque"}}, "", nil, `pull secret "opaque": it is of no type that pull secrets have`},
		{"malformed", workload.Identity{PullSecrets: []string{"broken"}}, "", nil, `pull secret "broken": it is malformed`},
		{"another registry", workload.Identity{PullSecrets: []string{"one"}}, "quay.io/a/b:1", nil, `pull secret "one": it has no entry for the image`},
		{"used", workload.Identity{PullSecrets: []string{"one"}}, "", nil, ""},
		{"many", workload.Identity{PullSecrets: strings.Split("abcdefgh", "")}, "", nil, `pull secret "d": it does not exist; and 4 more pull secrets`},
		{"account", workload.Identity{ServiceAccount: "empty"}, "", nil, `neither the pod nor its service account "empty" names a pull secret`},
		{"no account", workload.Identity{}, "", nil, `service account "default": it does not exist`},
		{"of the account", workload.Identity{ServiceAccount: "sa"}, "quay.io/a/b:1", nil, `pull secret "one": it has no entry for the image`},
	} {
		a := &api{
			secrets:  map[string]*corev1.Secret{"one": secret("one"), "opaque": opaque, "broken": broken},
			accounts: map[string][]string{"sa": {"one"}, "empty": nil},
			err:      tt.err,
		}
		c := &cluster.Cluster{Get: a.get}
		at := image
		if tt.image != "" {
			at = ref.MustParse(tt.image)
		}
		id := c.For("ns", tt.id)
		id.Credentials(context.Background(), at, true)
		a.take()
		explain := id.(interface {
			Explain(ref.Reference, bool) []string
		}).Explain
		got := strings.Join(explain(at, true), "; ")
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") || strings.Contains(got, "canary") {
			t.Errorf("%s: Explain = %q, want %q", tt.name, got, tt.want)
		}
		wrong := strings.Join(explain(at, false), "; ")
		if nothing := strings.Contains(got, "no entry") || strings.Contains(got, "neither"); nothing != (wrong != got) || nothing && wrong != "" {
			t.Errorf("%s: Explain of what is wrong = %q, of all %q", tt.name, wrong, got)
		}
		if calls := a.take(); len(calls) > 0 {
			t.Errorf("%s: Explain has read %q, want nothing", tt.name, calls)
		}
		c.Close()
	}
}

// TestLongNamesOfAccount checks that names of pull secrets in a service account, which the API
// server accepts at any length, are neither kept nor repeated as a whole.
func TestLongNamesOfAccount(t *testing.T) {
	long := strings.Repeat("\x7f", 350<<10)
	a := &api{accounts: map[string][]string{"sa": {long, long, long, long}}}
	c := &cluster.Cluster{Get: a.get}
	defer c.Close()
	id := c.For("ns", workload.Identity{ServiceAccount: "sa"})
	if got := id.Credentials(t.Context(), image, true); len(got) != 0 {
		t.Errorf("Credentials = %d, want none", len(got))
	}
	if calls := a.take(); len(calls) != 1 {
		t.Errorf("%d objects were read, want the service account alone", len(calls))
	}
	reasons := id.(interface {
		Explain(ref.Reference, bool) []string
	}).Explain(image, false)
	got := strings.Join(reasons, "; ")
	if !strings.Contains(got, "it does not exist") || len(got) > 8<<10 {
		t.Errorf("Explain has %d bytes, want few: %.200s", len(got), got)
	}
}
