// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"context"

	"gomodules.xyz/jsonpatch/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func serveFloor(ctx context.Context, dir string, port int) error {
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: dir})
	server.Register("/enforce", NewFloor())
	return server.Start(ctx)
}

// NewFloor returns a webhook that decodes a review and responds with a constant patch.
func NewFloor() *admission.Webhook {
	patch := jsonpatch.NewOperation("replace", "/spec/containers/0/image", Image)
	handle := func(context.Context, admission.Request) admission.Response {
		return admission.Patched("", patch)
	}
	return &admission.Webhook{Handler: admission.HandlerFunc(handle)}
}
