// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/pkg/audit"
)

// TestAudit switches the chart's audit on, and reads what it says about pods that containerd runs:
// pinned and with a tag, before and after the tag has moved.
func TestAudit(t *testing.T) {
	n := theNode(t)
	upgrade := func(ctx context.Context, enabled bool) error {
		_, err := n.RunHelm(ctx, "upgrade", "tagpin", "deploy/chart", "--namespace=tagpin-system",
			"--reset-then-reuse-values", "--wait", "--timeout=3m", fmt.Sprint("--set=audit.enabled=", enabled))
		return err
	}
	ns, plain := newNamespace(t, n, "enforce"), newNamespace(t, n, "off")
	reference, digest := push(t, n, "web", "one")
	apply(t, n, ns, "web", reference, 2)
	want{ns: ns, app: "web", replicas: 2, digest: digest, code: "one"}.runs(t, n)
	apply(t, n, plain, "web", reference, 1)
	want{ns: plain, app: "web", replicas: 1, digest: digest, code: "one"}.runs(t, n)
	t.Cleanup(func() {
		if err := upgrade(context.WithoutCancel(t.Context()), false); err != nil {
			t.Error(err)
		}
	})
	// findings restarts the audit, and returns what it says about the namespaces of the test.
	findings := func() (found []string) {
		t.Helper()
		clustertest.Kubectl(t, n, "", "--namespace=tagpin-system", "delete", "pod", "--selector=app.kubernetes.io/component=audit", "--wait")
		poll.Until(t, func(context.Context) error {
			text := clustertest.Kubectl(t, n, "", "--namespace=tagpin-system", "rollout", "status", "deployment/tagpin-audit")
			if !strings.Contains(text, "successfully") {
				return fmt.Errorf("rollout status: %s", text)
			}
			return nil
		})
		var report audit.Report
		poll.Until(t, func(ctx context.Context) error {
			const path = "/api/v1/namespaces/tagpin-system/services/tagpin-audit:metrics/proxy/report.json"
			body, err := n.Client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
			if err != nil {
				return err
			}
			return json.Unmarshal(body, &report)
		})
		for _, f := range report.Containers {
			if f.Namespace == ns || f.Namespace == plain {
				found = append(found, fmt.Sprintf("%s x%d %v", f.Workload, f.Count, f.States))
			}
		}
		slices.Sort(found)
		return found
	}
	if err := upgrade(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	before := []string{"Deployment/web x1 [unpinned]", "Deployment/web x2 [pinned]"}
	if diff := cmp.Diff(before, findings()); diff != "" {
		t.Errorf("findings: -want +got\n%s", diff)
	}
	push(t, n, "web", "two")
	after := []string{"Deployment/web x1 [drifted unpinned]", "Deployment/web x2 [drifted pinned]"}
	if diff := cmp.Diff(after, findings()); diff != "" {
		t.Errorf("findings after the tag has moved: -want +got\n%s", diff)
	}
}
