// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// unreachable is a Resolver that fails with a cause that only the operator may read.
var unreachable resolve.Func = func(
	_ context.Context, req resolve.Request,
) (resolve.Result, error) {
	err := failure.Errorf(failure.Unavailable, "%s: unreachable", req.Ref.Host())
	return resolve.Result{}, failure.WithCause(err, "ghcr.io: connection refused (dial tcp 192.0.2.1:443)")
}

// postLogged sends a review, and returns the lines of the log by their message.
func postLogged(t *testing.T, h *admit.Handler, body []byte) map[string][]map[string]any {
	t.Helper()
	lines := map[string][]map[string]any{}
	log := funcr.NewJSON(func(line string) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("the line %s is not JSON: %v", line, err)
		}
		message := fmt.Sprint(fields["msg"])
		lines[message] = append(lines[message], fields)
	}, funcr.Options{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, newRequest(logr.NewContext(t.Context(), log), bytes.NewReader(body)))
	return lines
}

// TestFailureIsLogged checks that each failed lookup has a line with the cause, which the tenant's
// denial does not have, and that images that share a lookup share the line.
func TestFailureIsLogged(t *testing.T) {
	h := newHandler(t, policy.Enforce, unreachable)
	const pod = `{"metadata":{"name":"web"},"spec":{"containers":[{"name":"a","image":"ghcr.io/a/b:1"},{"name":"b","image":"ghcr.io/a/b:1"},{"name":"c","image":"nginx"}]}}`
	body := review("CREATE", "", "Pod", pod, "")
	lines := postLogged(t, h, body)["lookup failed"]
	if len(lines) != 2 {
		t.Fatalf("%d lines, want one for each image: %v", len(lines), lines)
	}
	for field, want := range map[string]any{
		"uid": "u", "namespace": "team", "kind": "Pod", "image": "ghcr.io/a/b:1", "registry": "ghcr.io", "class": "unavailable",
		"cause": "ghcr.io: connection refused (dial tcp 192.0.2.1:443)", "remembered": false, "leftOut": 0.0,
	} {
		if got := lines[0][field]; got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if lines[1]["image"] != "nginx" || lines[1]["registry"] != "docker.io" {
		t.Errorf("the second line is %v, want that of nginx", lines[1])
	}
	r, _ := post(t, h, body)
	if message := r.Result.Message; r.Allowed || strings.Contains(message, "192.0.2.1") {
		t.Errorf("denial = %s, want it without the cause", message)
	}
}

// TestFailuresDontFloodTheLog checks that a namespace with very many failed lookups gets few lines,
// that they say how many are left out, and that another namespace has its own.
func TestFailuresDontFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, policy.Enforce, unreachable)
		flood := review("CREATE", "", "Pod", manyImages(1000), "")
		if n := len(postLogged(t, h, flood)["lookup failed"]); n != 20 {
			t.Errorf("%d lines for 1000 failed lookups, want 20", n)
		}
		other := bytes.Replace(flood, []byte(`"namespace":"team"`), []byte(`"namespace":"other"`), 1)
		if n := len(postLogged(t, h, other)["lookup failed"]); n != 20 {
			t.Errorf("%d lines of another namespace, want 20", n)
		}
		for i := range 20 { // more namespaces than there is room for
			more := bytes.Replace(flood, []byte(`"namespace":"team"`), fmt.Appendf(nil, `"namespace":"n%d"`, i), 1)
			lines := postLogged(t, h, more)["lookup failed"]
			if want := min(20, max(0, 200-20*(i+2))); len(lines) != want {
				t.Errorf("%d lines of namespace %d, want %d", len(lines), i, want)
			}
		}
		time.Sleep(time.Minute)
		lines := postLogged(t, h, review("CREATE", "", "Pod", nginxPod, ""))["lookup failed"]
		if len(lines) != 1 || lines[0]["leftOut"] != 980.0 {
			t.Errorf("after a minute: %v, want a line with the 980 that are left out", lines)
		}
	})
}

// manyImages returns a Pod with n images.
func manyImages(n int) string {
	containers := make([]string, n)
	for i := range containers {
		containers[i] = fmt.Sprintf(`{"name":"c%d","image":"ghcr.io/a/b:%d"}`, i, i)
	}
	return `{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
}
