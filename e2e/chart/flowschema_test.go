// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// TestFlowSchema installs the chart's FlowSchemas and reads as tagpin does. The answers name the
// schema and the priority level, which lists of pods have for themselves. Requests of other users
// are not affected.
func TestFlowSchema(t *testing.T) {
	helm(t, "4", "install", "tagpin", deploy+"/chart", "--set", "flowSchema.enabled=true")
	defer helm(t, "4", "uninstall", "tagpin")
	api := env.Client.FlowcontrolV1()
	installed := func(name string) flow {
		t.Helper()
		schema, err := api.FlowSchemas().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		level, err := api.PriorityLevelConfigurations().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return flow{string(schema.UID), string(level.UID)}
	}
	want, lists := installed("tagpin-webhook"), installed("tagpin-webhook-lists")
	poll.Until(t, func(ctx context.Context) error {
		for path, want := range map[string]flow{
			"/api/v1/namespaces/shop/secrets/pull": want,
			"/api/v1/namespaces/shop/pods":         lists,
			"/version":                             want,
			"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + registration: want,
		} {
			got, err := served(ctx, cluster.ServiceAccount, path)
			if err == nil && got != want {
				err = fmt.Errorf("flow of %s = %v, want %v", path, got, want)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	const tenant = "system:serviceaccount:shop:default"
	other, err := served(t.Context(), tenant, "/api/v1/namespaces/shop/pods")
	if err != nil || other.schema == want.schema || other.level == want.level {
		t.Errorf("flow of another service account = %v, %v, want another schema and level", other, err)
	}
}

// flow is the FlowSchema and the priority level of a request, by their UIDs.
type flow struct{ schema, level string }

// served reads a path as a user, who need not be allowed to, and returns the flow of the request.
func served(ctx context.Context, user, path string) (flow, error) {
	config := clustertest.Impersonate(env.Config, user,
		"system:serviceaccounts", "system:authenticated")
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return flow{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		return flow{}, err
	}
	response, err := c.Do(r)
	if err != nil {
		return flow{}, err
	}
	defer func() { _ = response.Body.Close() }()
	h := response.Header
	return flow{
		h.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID),
		h.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID),
	}, nil
}
