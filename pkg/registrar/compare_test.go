// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/registration"
)

// editRule removes a rule, as somebody may by kubectl edit.
func editRule(c *configuration) { c.Webhooks[0].Rules = c.Webhooks[0].Rules[1:] }

// TestEditedRules checks that rules and conditions are written again after somebody has edited
// them, but not without end if that happens again and again.
func TestEditedRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		w.change(editRule)
		w.want("a rule removed", 1, 3, 0, 3)
		w.change(func(c *configuration) { c.Webhooks[2].MatchConditions[0].Expression = "false" })
		w.look(t.Context())
		if got := w.live().Webhooks[2].MatchConditions[0].Expression; got == "false" {
			t.Error("a condition that somebody has set to false stays")
		}
		for range maxRepairs - 2 {
			w.change(editRule)
			w.look(t.Context())
		}
		w.want("as often as it is written again", 0, 3, 0, 3)
		w.change(editRule)
		w.want("more often", 3, 2, 0, 3)
		if got := testutil.ToFloat64(w.asWanted.WithLabelValues("enforce.tagpin.dev")); got != 0 {
			t.Errorf("as wanted while the edited rules stay = %v, want 0", got)
		}
		time.Sleep(repairSpan)
		w.want("an hour later", 1, 3, 0, 3)
	})
}

// TestRulesOfAnotherConfig checks that a server does not take the rules that another server wrote
// for edited ones.
func TestRulesOfAnotherConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.want("at first", 6, 3, 0, 3)
		time.Sleep(time.Hour) // until the CA is settled
		w.look(t.Context())
		second := w.replica()
		second.Wanted = podsOnly
		for range 3 {
			second.look(t.Context())
		}
		w.want("the second replica has read a new config", 3, 1, 0, 1)
	})
}

// TestRestored checks that the rules are written again if etcd is restored to a time at which a
// server with another config had written them.
func TestRestored(t *testing.T) {
	w := newFixture(t)
	w.with = podsOnly()
	w.want("at first", 6, 1, 0, 1)
	w.change(func(c *configuration) { c.Generation = 2 })
	w.look(t.Context())
	backup := w.live()
	w.with = &registration.Registration{}
	w.want("another config", 2, 3, 0, 3)
	w.change(func(c *configuration) { c.Generation = 3 })
	w.look(t.Context())
	w.change(func(c *configuration) { backup.DeepCopyInto(c) })
	w.want("restored", 1, 3, 0, 3)
}

// TestAsWanted checks the metric of each webhook after somebody has changed a field that belongs to
// the manifests, and that the log names the field once.
func TestAsWanted(t *testing.T) {
	const enforce, dryRun, keep = "enforce.tagpin.dev", "dry-run.tagpin.dev", "keep.tagpin.dev"
	for name, tt := range map[string]struct {
		edit func(*configuration)
		want string // what differs in the log; empty if the log says nothing
	}{
		"nothing": {func(*configuration) {}, ""},
		"failure policy": {func(c *configuration) {
			ignore := admissionregistrationv1.Ignore
			c.Webhooks[0].FailurePolicy = &ignore
		}, enforce + ": failurePolicy"},
		"namespaces": {func(c *configuration) {
			s := c.Webhooks[2].NamespaceSelector
			s.MatchExpressions = append(s.MatchExpressions,
				metav1.LabelSelectorRequirement{Key: "control-plane", Operator: "DoesNotExist"})
		}, keep + ": namespaceSelector"},
		"labels and timeout": {func(c *configuration) {
			c.Webhooks[0].ObjectSelector.MatchLabels = map[string]string{"a": "b"}
			seconds := int32(1)
			c.Webhooks[0].TimeoutSeconds = &seconds
		}, enforce + ": objectSelector, timeoutSeconds"},
		"path": {func(c *configuration) {
			c.Webhooks[0].ClientConfig.Service.Path = c.Webhooks[2].ClientConfig.Service.Path
		}, enforce + ": clientConfig"},
		"another webhook": {func(c *configuration) { c.Webhooks[1].Name = "z.example.com" }, dryRun + ": missing"},
		"a URL": {func(c *configuration) {
			url := "https://192.0.2.1:9443/keep"
			c.Webhooks[2].ClientConfig.Service, c.Webhooks[2].ClientConfig.URL = nil, &url
		}, ""},
		"CA": {func(c *configuration) { c.Webhooks[0].ClientConfig.CABundle = []byte("none") }, enforce + ": caBundle"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.change(func(c *configuration) {
				c.Webhooks[1] = installed(t, w.with)[1]
			})
			w.want("at first", 6, 3, 3, 3)
			w.Secret = nil // the CA bundle belongs to the manifests too
			w.material = nil
			var text strings.Builder
			w.Log = funcr.New(func(_, line string) { text.WriteString(line + "\n") }, funcr.Options{})
			w.change(tt.edit)
			w.look(t.Context())
			w.look(t.Context())
			for _, webhook := range []string{enforce, dryRun, keep} {
				want := 1.0
				if strings.Contains(tt.want, webhook) {
					want = 0
				}
				if got := testutil.ToFloat64(w.asWanted.WithLabelValues(webhook)); got != want {
					t.Errorf("%s as wanted = %v, want %v", webhook, got, want)
				}
			}
			said, differs := text.String(), `"differs"=["`+tt.want+`"]`
			lines := strings.Count(said, "not as this server's")
			if tt.want == "" && lines > 0 || tt.want != "" && (lines != 1 || !strings.Contains(said, differs)) {
				t.Errorf("the log says\n%s\nwant %s once", said, differs)
			}
		})
	}
}
