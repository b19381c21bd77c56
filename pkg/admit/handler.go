// SPDX-License-Identifier: Apache-2.0

// Package admit answers AdmissionReviews: review → scan → pin → patch, warnings and audit
// annotation.
//
// A Handler serves the path of one mode:
//
//	POST /enforce?timeout=10s
//
// It decodes no object into Kubernetes' Go types. The patch has exact paths of the object as it was
// received, so that fields which this version does not know stay as they are. Every review gets an
// answer, if need be a denial. Only a request that is not a review gets an HTTP error.
//
// The package itself sends no request to a registry or the API server. The Resolver and the Layer
// of the Pinner do, and so does the Keychain.
package admit

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// defaultTimeout is how long the API server waits for a webhook that sets no timeout.
	defaultTimeout = 10 * time.Second
	// maxTimeout is the longest time that the API server waits (k8s.io/kubernetes
	// pkg/apis/admissionregistration/validation). A larger value can only come from another caller. It
	// is cut, so that it can't delay a shutdown.
	maxTimeout = 30 * time.Second
	// rounding is what the API server may have added to its timeout to make it whole seconds
	// (k8s.io/apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go).
	rounding = time.Second
	// transit is reserved for the request's way to the webhook and the answer's way back.
	transit = time.Second
)

// Handler is an http.Handler that answers the AdmissionReviews of one mode. It is safe for
// concurrent use. Fields without a default are required.
type Handler struct {
	Pinner *pin.Pinner
	Table  *workload.Table // default: the built-in kinds
	Mode   policy.Mode
	// OnFailure says what happens to an object if a lookup fails.
	OnFailure failure.Actions
	// Keychain returns the credentials of a pull identity in a namespace. If it returns nil,
	// registries are asked anonymously.
	Keychain func(namespace string, id workload.Identity) keychain.Keychain
	// CloudOff returns the cloud that a host belongs to, if tagpin does not use its identity there, or
	// "". Nodes may pull from the host without a pull secret, and tagpin can't. Default: none.
	CloudOff func(host string) string
	// Metrics counts the answers.
	Metrics *Metrics
	// Reviews limits the bytes of large reviews that are held at a time. They are shared fairly by the
	// address of the sender and then by namespace: the namespace is only what the sender writes.
	Reviews *fair.Groups
	// Images limits the size of the large objects that are being pinned at a time, in images, pod
	// specs and KiB of text, and is shared like Reviews. An image takes about 1 KiB until the answer,
	// however short its text is.
	Images *fair.Room
	// SlowReviews limits the reviews that take long, and is shared like Reviews.
	SlowReviews *fair.Room
	// Began returns the time at which the first byte of a request came. The handler is only called
	// after the header.
	Began func(*http.Request) time.Time
	// WhenLost calls a function if a connection has lost its place to another one, so that a review
	// for which there is no place any more does not go on.
	WhenLost func(*http.Request, func())

	// refusals limits log lines about requests that are not reviews, because anybody who reaches the
	// port can send any number of them: the first ten, and then at most one every ten seconds.
	refusals struct {
		once sync.Once
		rate.Sometimes
	}
	// failures bounds the log lines about failed lookups.
	failures failureLog
}

// ServeHTTP answers a review within the time that the API server allows, which begins with the
// first byte of the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.Began(r)
	end := began.Add(budget(r.URL.Query().Get("timeout")))
	// A caller that has gone away is no failure of a lookup, and the answers are remembered.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(r.Context()), end)
	defer cancel()
	h.WhenLost(r, cancel)
	rv, err := h.read(ctx, w, r, end)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	ctx, done := h.limitSlow(ctx, rv)
	defer done()
	a := h.respond(ctx, rv)
	h.observe(ctx, rv, a, time.Since(began))
	w.Header().Set("Content-Type", "application/json")
	// If this fails, the connection is broken and there is nobody to report it to.
	_ = json.NewEncoder(w).Encode(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "AdmissionReview"},
		Response: a.AdmissionResponse,
	})
}

// refuse answers a request that is not a review with an HTTP error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadRequest
	if errors.As(err, new(*http.MaxBytesError)) {
		status = http.StatusRequestEntityTooLarge
	}
	h.Metrics.reviews.WithLabelValues(h.Mode.String(), "refused").Inc()
	span.Of(r.Context()).Fail("refused")
	h.refusals.once.Do(func() {
		h.refusals.Sometimes = rate.Sometimes{First: 10, Interval: 10 * time.Second}
	})
	h.refusals.Do(func() {
		logr.FromContextOrDiscard(r.Context()).
			Info("review refused", "peer", peer(r), "reason", err.Error())
	})
	http.Error(w, "tagpin: "+err.Error(), status)
}

// budget returns how long a review may take, given the query parameter timeout that the API server
// sends.
func budget(timeout string) time.Duration {
	t, err := time.ParseDuration(timeout)
	if err != nil || t <= 0 {
		t = defaultTimeout
	}
	t = min(t, maxTimeout)
	waits := max(t-rounding, t/2)
	return max(waits-transit, waits/2)
}

// peer returns the address that a request comes from.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
