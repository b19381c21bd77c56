// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestClosedLoginsAreNotRemembered checks that wrong logins of a namespace, which close its logins,
// do no harm to another namespace with the same good credential.
func TestClosedLoginsAreNotRemembered(t *testing.T) {
	w := registrytest.Start(t, registrytest.BasicFor("good"))
	top := build(t, w.Client(registry.Host{Name: w.Host(own)}))
	ask := func(namespace string, fresh bool, names ...string) error {
		_, err := top.Resolve(t.Context(), resolve.Request{
			Ref: ref.MustParse(w.Host(own) + "/app:1"), Namespace: namespace, Fresh: fresh,
			Keychain: having(registrytest.Users(names...)...),
		})
		return err
	}
	if err := ask("b", true, "good"); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"x", "y", "z"} { // a lookup tries at most 16
		if ask("a", true, registrytest.Names(prefix, 6)...) == nil {
			t.Fatal("a wrong login was accepted")
		}
	}
	err := ask("a", true, "good")
	if err == nil || !strings.Contains(err.Error(), "of this namespace were refused") {
		t.Errorf("the namespace with the wrong logins: %v, want its logins closed", err)
	}
	for _, fresh := range []bool{false, true} {
		if err := ask("b", fresh, "good"); err != nil {
			t.Errorf("another namespace, fresh %t: %v", fresh, err)
		}
	}
}
