// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestCloudOff checks that a denial at a registry of a cloud whose identity tagpin was not given
// says so, and that the log names the cloud.
func TestCloudOff(t *testing.T) {
	var err error = failure.Unauthorized
	h := newHandler(t, policy.Enforce, resolve.Func(
		func(context.Context, resolve.Request) (resolve.Result, error) { return resolve.Result{}, err },
	))
	h.CloudOff = func(host string) string {
		if host == "team.azurecr.io" {
			return "azure"
		}
		return ""
	}
	for _, tt := range []struct {
		image, spec string
		err         error
		cloud       string
		hint        bool
	}{
		{"team.azurecr.io/a:1", "", failure.Unauthorized, "azure", true},
		{"team.azurecr.io/a:1", `"imagePullSecrets":[{"name":"s"}],`, failure.Unauthorized, "azure", false},
		{"team.azurecr.io/a:1", "", failure.NotFound, "", false},
		{"ghcr.io/a:1", "", failure.Unauthorized, "", false},
	} {
		err = tt.err
		pod := `{"metadata":{"name":"web"},"spec":{` + tt.spec + `"containers":[{"name":"a","image":"` + tt.image + `"}]}}`
		body := review("CREATE", "", "Pod", pod, "")
		if got, _ := postLogged(t, h, body)["lookup failed"][0]["cloudOff"].(string); got != tt.cloud {
			t.Errorf("%+v: logged cloudOff = %q, want %q", tt, got, tt.cloud)
		}
		r, _ := post(t, h, body)
		if got := strings.Contains(r.Result.Message, "an identity of the cloud"); got != tt.hint {
			t.Errorf("%+v: denial = %s, want the hint: %t", tt, r.Result.Message, tt.hint)
		}
	}
}
