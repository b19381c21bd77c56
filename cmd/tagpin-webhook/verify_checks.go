// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registration"
)

// verifyTimeout is the time limit of each check.
const verifyTimeout = 10 * time.Second

// check runs all checks once.
func (v *verification) check(ctx context.Context) (found []finding) {
	ctx, cancel := context.WithTimeout(ctx, 6*verifyTimeout)
	defer cancel()
	api := v.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	live, err := api.Get(ctx, v.name, metav1.GetOptions{})
	subject := "registration " + v.name
	switch {
	case apierrors.IsNotFound(err):
		return []finding{{
			failed, subject, "it does not exist, so nothing is pinned",
			"run helm upgrade with the same values, or with registration: manual apply it",
		}}
	case err != nil:
		return []finding{{failed, subject, err.Error(), nextAfterRead(err)}}
	}
	var empty []string
	for _, mode := range policy.Modes() {
		name := registration.WebhookName(mode.String())
		i := slices.IndexFunc(live.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool {
			return w.Name == name
		})
		if i < 0 {
			found = append(found, finding{
				failed, name, "the registration lacks this webhook",
				"delete the registration and run helm upgrade with the same values",
			})
			continue
		}
		if len(live.Webhooks[i].Rules) == 0 {
			empty = append(empty, name)
		}
		found = append(found, v.checkWebhook(ctx, &live.Webhooks[i])...)
		if mode == policy.Propose && v.image != "" && !anyFailed(found) {
			found = append(found, v.checkImage(ctx, &live.Webhooks[i]))
		}
	}
	first := finding{passed, subject, "it has rules, so the API server calls tagpin", ""}
	if len(empty) > 0 {
		first = finding{
			failed, subject, "the API server does not call tagpin, because these webhooks have no rules: " +
				strings.Join(empty, ", "),
			"the log of tagpin's pods says what the server waits for, in the lines with " +
				`"logger":"registrar"`,
		}
	}
	return slices.Insert(found, 0, first)
}

// checkWebhook connects to a webhook and sends it a review.
func (v *verification) checkWebhook(
	ctx context.Context, w *admissionregistrationv1.MutatingWebhook,
) []finding {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	conn, err := v.caller.Connect(ctx, &w.ClientConfig)
	if err != nil {
		return []finding{{failed, w.Name, err.Error(), nextAfterConnect(err)}}
	}
	defer func() { _ = conn.Close() }()
	leaf := conn.ConnectionState().PeerCertificates[0]
	found := []finding{{passed, w.Name, fmt.Sprintf(
		"%s has a certificate for %s that the registration trusts, until %s", conn.Address,
		conn.Name, leaf.NotAfter.UTC().Format(time.DateOnly)), ""}}
	if conn.WantsCertificate {
		return append(found, finding{skipped, w.Name, "no review was sent, because the server wants a " +
			"client certificate (clientCA), which only the API server has", ""})
	}
	answer, err := sendReview(ctx, conn, w, []byte(pinnedPod))
	if err == nil && len(answer.Patch) > 0 {
		err = errors.New("the answer changes a pod that needs no pin")
	}
	if err != nil {
		return append(found, finding{
			failed, w.Name, "sending a review: " + err.Error(),
			"the log of tagpin's pods may say why",
		})
	}
	return append(found, finding{passed, w.Name, "a review was answered", ""})
}

// digest matches a digest in the patch of an answer.
var digest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// checkImage sends the webhook of the mode dry-run a pod with an image, and reports the digest that
// it proposes.
func (v *verification) checkImage(
	ctx context.Context, w *admissionregistrationv1.MutatingWebhook,
) finding {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	subject := "image " + v.image
	conn, err := v.caller.Connect(ctx, &w.ClientConfig)
	if err != nil {
		return finding{failed, subject, err.Error(), nextAfterConnect(err)}
	}
	defer func() { _ = conn.Close() }()
	if conn.WantsCertificate {
		return finding{skipped, subject, "no review was sent, because the server wants a client " +
			"certificate", ""}
	}
	pod, err := newUnpinnedPod(v.image, v.pullSecrets)
	if err != nil {
		return finding{failed, subject, err.Error(), ""}
	}
	answer, err := sendReview(ctx, conn, w, pod)
	if err == nil {
		if found := digest.Find(answer.Patch); found != nil {
			return finding{passed, subject, "it would be pinned to " + string(found), ""}
		}
		err = errors.New(cmp.Or(strings.Join(answer.Warnings, "; "), "the answer has no reason"))
	}
	_, namespace := reviewTarget(conn, w)
	return finding{
		failed, subject, "it would not be pinned: " + err.Error(),
		fmt.Sprintf("in a pod of the webhook, tagpin-webhook resolve --config /etc/tagpin/config.yaml "+
			"--namespace %s asks the registry too, and says what it answers", namespace),
	}
}

// nextAfterRead says what to do after an error of the API server.
func nextAfterRead(err error) string {
	if apierrors.IsForbidden(err) {
		return "allow this service account to get it"
	}
	return "check that the API server can be reached from here"
}

// nextAfterConnect says what to do if the webhook was not reached.
func nextAfterConnect(err error) string {
	var status apierrors.APIStatus
	var timeout net.Error
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "the registration trusts another certificate than the server has: see the runbook " +
			"TagpinCertificateExpires"
	case apierrors.IsNotFound(err):
		return "create the Service: run helm upgrade with the same values"
	case errors.As(err, &status):
		return nextAfterRead(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no replica is ready: look at tagpin's pods and their log"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "a network policy keeps callers from tagpin's pods, or none of the pods runs"
	}
	return "look at tagpin's pods, their log and the network between them"
}
