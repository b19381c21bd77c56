// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	tagpinregistry "github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestForeignRealm checks that a denial names who can allow a token endpoint on another host, with
// and without a pull secret.
func TestForeignRealm(t *testing.T) {
	h := newHandler(t, policy.Enforce, resolve.Func(
		func(context.Context, resolve.Request) (resolve.Result, error) {
			return resolve.Result{}, failure.New(failure.Unauthorized,
				fmt.Errorf("git.example:5050: %w, git.example; see authHosts", tagpinregistry.ErrForeignRealm))
		},
	))
	for _, spec := range []string{"", `"imagePullSecrets":[{"name":"s"}],`} {
		pod := `{"metadata":{"name":"web"},"spec":{` + spec +
			`"containers":[{"name":"a","image":"git.example:5050/a:1"}]}}`
		r, _ := post(t, h, review("CREATE", "", "Pod", pod, ""))
		const want = "its token realm is on another host or port, git.example; see authHosts; ask " +
			"whoever runs tagpin in this cluster to add that host to the registry's authHosts, if they " +
			"belong together"
		if got := r.Result.Message; !strings.Contains(got, want) {
			t.Errorf("denial = %s, want %s", got, want)
		}
	}
}
