// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// TestPermissions tries each verb on each resource with each name in each namespace. An empty
// namespace means all.
var (
	verbs = []string{
		"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
		"bind", "escalate", "impersonate",
	}
	resources = []string{
		"/secrets", "/serviceaccounts", "/serviceaccounts/token", "/pods", "/pods/exec",
		"/pods/ephemeralcontainers", "/configmaps", "/namespaces", "/services", "/nodes", "/events",
		"/users", "apps/deployments", "batch/jobs", "coordination.k8s.io/leases",
		"rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/roles",
		"admissionregistration.k8s.io/mutatingwebhookconfigurations",
		"admissionregistration.k8s.io/validatingwebhookconfigurations", "cert-manager.io/certificates",
	}
	names = []string{"", "any", "tagpin-webhook-tls", "tagpin-webhook", namespace, registration}
	where = []string{"", namespace, "shop", "other"}
)

// Expected permissions, each a verb, a resource, a namespace and a name. The namespace * stands for
// each namespace and for all, and the name * for each name and for none.
var (
	pullSecrets = []string{"get /secrets * *", "get /serviceaccounts * *", "list /pods * *"}
	inShop      = []string{"get /secrets shop *", "get /serviceaccounts shop *", "list /pods shop *"}
	siblings    = []string{"list /pods * *"}
	managed     = []string{
		"get admissionregistration.k8s.io/mutatingwebhookconfigurations * zz-tagpin",
		"patch admissionregistration.k8s.io/mutatingwebhookconfigurations * zz-tagpin",
		"delete admissionregistration.k8s.io/mutatingwebhookconfigurations * zz-tagpin",
		"get /services tagpin-system tagpin-webhook", "get /namespaces tagpin-system tagpin-system",
	}
	certificates = []string{
		"get /secrets tagpin-system tagpin-webhook-tls",
		"update /secrets tagpin-system tagpin-webhook-tls",
	}
)

// TestPermissions installs the chart with each access to pull secrets and each mode of
// certificates, and asks the API server what the service account may do: exactly what is needed.
func TestPermissions(t *testing.T) {
	access := map[string][]string{
		"cluster": pullSecrets, "namespaces,pullSecretNamespaces={shop}": inShop, "none": siblings,
	}
	modes := map[string][]string{
		"certificates.mode=self-managed": slices.Concat(managed, certificates),
		"certificates.mode=cert-manager": managed,
		"certificates.mode=given,certificates.secret=pins,certificates.caBundle=-----BEGIN CERTIFICATE-----": managed,
		"certificates.mode=cert-manager,registration=manual":                                                 nil,
	}
	for a, allowed := range access {
		for mode, more := range modes {
			t.Run(a+" "+mode, func(t *testing.T) {
				helm(t, "4", "install", "tagpin", deploy+"/chart", "--set", "pullSecretAccess="+a+","+mode)
				defer helm(t, "4", "uninstall", "tagpin")
				want := granted(slices.Concat(allowed, more))
				if diff := cmp.Diff(want, may(t)); diff != "" {
					t.Errorf("permissions, -want +got:\n%s", diff)
				}
			})
		}
	}
}

// each calls f with each combination.
func each(f func(verb, resource, ns, name string)) {
	for _, verb := range verbs {
		for _, resource := range resources {
			for _, ns := range where {
				for _, name := range names {
					f(verb, resource, ns, name)
				}
			}
		}
	}
}

func action(verb, resource, ns, name string) string {
	return fmt.Sprintf("%s %s in %q named %q", verb, resource, ns, name)
}

// granted returns all actions that rules allow.
func granted(rules []string) []string {
	all := map[string]bool{}
	for _, rule := range rules {
		parts := strings.Fields(rule)
		each(func(verb, resource, ns, name string) {
			if verb == parts[0] && resource == parts[1] &&
				(parts[2] == "*" || parts[2] == ns) && (parts[3] == "*" || parts[3] == name) {
				all[action(verb, resource, ns, name)] = true
			}
		})
	}
	return slices.Sorted(maps.Keys(all))
}

// may returns all actions that the API server allows.
func may(t *testing.T) []string {
	t.Helper()
	var mu sync.Mutex
	var all []string
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	each(func(verb, resource, ns, name string) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			review := newReview(verb, resource, ns, name)
			api := env.Client.AuthorizationV1().SubjectAccessReviews()
			review, err := api.Create(t.Context(), review, metav1.CreateOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if review.Status.Allowed {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, action(verb, resource, ns, name))
			}
		})
	})
	wg.Wait()
	slices.Sort(all)
	return all
}

// newReview asks whether the service account may do something.
func newReview(verb, resource, ns, name string) *authorizationv1.SubjectAccessReview {
	group, rest, _ := strings.Cut(resource, "/")
	kind, sub, _ := strings.Cut(rest, "/")
	return &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: cluster.ServiceAccount,
		Groups: []string{
			"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated",
		},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: kind, Subresource: sub, Namespace: ns, Name: name,
		},
	}}
}
