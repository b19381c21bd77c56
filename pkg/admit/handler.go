// SPDX-License-Identifier: Apache-2.0

// Package admit answers AdmissionReviews: review → scan → pin → patch, warnings, audit.
//
// A Handler serves one mode's path:
//
//	POST /enforce?timeout=10s
//
// The review is read once, as JSON; the patch touches exact paths of the object as it was received, so that fields newer
// than any client library survive. A denial is an answer; only what is no review at all is an HTTP error. Nothing here
// talks to a registry or the API server: that is the Pinner's part.
package admit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// ephemeralContainers is the subresource of Pods by which kubectl debug adds containers.
	ephemeralContainers = "ephemeralcontainers"
	// defaultTimeout is the API server's own for a webhook that names none.
	defaultTimeout = 10 * time.Second
	// maxTimeout is the longest that the API server has (k8s.io/kubernetes pkg/apis/admissionregistration/validation); of who says
	// more, a caller of its own, no review holds up what waits for its end.
	maxTimeout = 30 * time.Second
	// rounding is what the API server may have rounded its timeout up by, to a whole second: it waits
	// for less than it says (k8s.io/apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go).
	rounding = time.Second
	// margin is left of what the API server waits for the way there and back.
	margin = time.Second
)

// Handler is an http.Handler that answers the AdmissionReviews of one mode. It is safe for concurrent use.
type Handler struct {
	Pinner    *pin.Pinner
	Table     *workload.Table // nil: the built-in kinds
	Mode      pin.Mode
	OnFailure OnFailure
	// Keychain gives the credentials of a pull identity in a namespace. Nil: anonymous alone.
	Keychain func(namespace string, id workload.Identity) keychain.Keychain
	// Metrics counts the answers. Nil: none.
	Metrics *Metrics
	// Reviews bounds the bytes of large reviews that are held at once, fairly by the address that they
	// come from and by namespace: until it is known who calls, the namespace is only what a caller
	// says. Nil: no bound but that of each.
	Reviews *fair.Groups
	// Images bounds the size of large objects that are being pinned at once, in images, pod specs and
	// KiB of text, by the address that they come from and by namespace: an image holds about 1 KiB
	// until the answer, however short its text is. Nil: no bound but that of each object.
	Images *fair.Room
	// Waiting bounds the reviews that wait for others, by the address that they come from and by
	// namespace. Nil: no bound.
	Waiting *fair.Room
	// Began returns when the first byte of a request came. Nil: when the handler is called, which is
	// after the header.
	Began func(*http.Request) time.Time

	// refusals has the log tell of the first ones, and then of one now and then: whoever reaches the
	// port can make any number of them.
	refusals refusals
}

// refusals is a rate.Sometimes that needs no constructor.
type refusals struct {
	once      sync.Once
	sometimes rate.Sometimes
}

// Do calls f for the first ten calls, and then at most every ten seconds.
func (s *refusals) Do(f func()) {
	s.once.Do(func() { s.sometimes = rate.Sometimes{First: 10, Interval: 10 * time.Second} })
	s.sometimes.Do(f)
}

// ServeHTTP answers a review. It has a budget from the request's first byte on, for the body too:
// the query parameter timeout, which the API server sends, less what it may have been rounded up by
// and one second for the way, but at least half of the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.began(r)
	end := start.Add(budget(r.URL.Query().Get("timeout")))
	// The server's context ends when it begins to shut down, which would deny the last reviews: they
	// have their budget.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(r.Context()), end)
	defer cancel()
	rv, err := h.read(ctx, w, r, end)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	rv.peer = peer(r)
	ctx, done := h.watch(ctx, rv)
	defer done()
	response, result := h.answer(ctx, rv)
	h.Metrics.observe(h.Mode, response, result, time.Since(start))
	trace(ctx, h.Mode, rv, response, result)
	logAnswer(ctx, h.Mode, rv, response, result, time.Since(start))
	w.Header().Set("Content-Type", "application/json")
	// An error here is the connection's: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "AdmissionReview"},
		Response: response,
	})
}

// refuse answers what is no review.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadRequest
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	h.Metrics.failed(h.Mode)
	span.Of(r.Context()).Fail("refused")
	h.refusals.Do(func() {
		logr.FromContextOrDiscard(r.Context()).Info("review refused", "peer", peer(r), "reason", err.Error())
	})
	http.Error(w, "tagpin: "+err.Error(), status)
}

func (h *Handler) began(r *http.Request) time.Time {
	if h.Began == nil {
		return time.Now()
	}
	return h.Began(r)
}

// budget is how long a review may take, by the API server's timeout.
func budget(timeout string) time.Duration {
	t, err := time.ParseDuration(timeout)
	if err != nil || t <= 0 {
		t = defaultTimeout
	}
	t = min(t, maxTimeout)
	waits := max(t-rounding, t/2)
	return max(waits-margin, waits/2)
}

// answer answers one review, also after a bug: an HTTP error would let an unpinned object pass where
// the API server ignores failures.
func (h *Handler) answer(ctx context.Context, rv *review) (response *admissionv1.AdmissionResponse, result pin.Result) {
	err := h.Pinner.Panics.Catch("answering the review "+rv.UID+" of namespace "+rv.Namespace, func() error {
		response, result = h.review(ctx, rv)
		return nil
	})
	if err != nil {
		response = h.unable(h.allow(rv), "tagpin: "+err.Error()+"; its log has the cause", http.StatusInternalServerError)
	}
	return response, result
}

// allow is an answer that allows the object as it is.
func (h *Handler) allow(rv *review) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: types.UID(rv.UID), Allowed: true}
}

// review answers one review.
func (h *Handler) review(ctx context.Context, rv *review) (*admissionv1.AdmissionResponse, pin.Result) {
	response := h.allow(rv)
	defer rv.drop()
	if rv.unread != nil {
		message, code := unreadText(rv)
		return h.unable(response, message, code), pin.Result{}
	}
	if rv.Operation != policy.Create && rv.Operation != policy.Update {
		return response, pin.Result{}
	}
	if !h.Table.Known(rv.Kind) {
		response.Warnings = []string{truncate(fmt.Sprintf("tagpin knows no pod template in a %s: its images are not pinned", rv.Kind))}
		return response, pin.Result{}
	}
	request, err := h.request(rv)
	if err != nil {
		return h.unable(response, err.Error(), http.StatusBadRequest), pin.Result{}
	}
	changed := rv.templatesChanged(request.Object)
	rv.drop() // what is next may wait for registries
	leave, err := h.enter(rv.peer, &request)
	if err != nil {
		message := "tagpin: too many large objects are being pinned beside this one of namespace " +
			rv.Namespace + "; try again in a moment"
		return h.unable(response, message, http.StatusTooManyRequests), pin.Result{}
	}
	defer leave()
	result := h.Pinner.Pin(ctx, request)
	if result.Skipped != "" {
		return response, result
	}
	a := answer{policy: &h.Pinner.Policy, mode: h.Mode, failures: h.OnFailure, rv: rv, request: request, changed: changed, outcomes: result.Outcomes}
	a.crowded = errors.Is(context.Cause(ctx), errCrowded)
	a.build()
	return a.response(response), result
}

// fewImages is the size of an object that is pinned without a place in Images. Nearly all objects are
// smaller, so that they never wait for the large ones of others.
const fewImages = 64

// enter takes a place for the images of an object. Nothing waits for one: what waits would hold the
// scanned objects.
func (h *Handler) enter(peer string, request *pin.Request) (leave func(), err error) {
	size := request.Object.Size() + request.Old.Size()
	if h.Images == nil || size <= fewImages {
		return func() {}, nil
	}
	return h.Images.Enter(peer, request.Namespace, int64(size))
}

// request scans the objects of a review.
func (h *Handler) request(rv *review) (pin.Request, error) {
	if rv.Object == nil {
		return pin.Request{}, fmt.Errorf("the review of %s holds no object", rv.Operation)
	}
	object, err := h.Table.Scan(rv.Kind, rv.Object)
	if err != nil {
		return pin.Request{}, err
	}
	request := pin.Request{
		Input:     policy.Input{Operation: rv.Operation, User: rv.User, Node: rv.Node, Object: object},
		Mode:      h.Mode,
		Namespace: rv.Namespace,
		Sender:    rv.peer,
		DryRun:    rv.DryRun,
	}
	if h.Keychain != nil {
		request.Keychain = func(id workload.Identity) keychain.Keychain { return h.Keychain(rv.Namespace, id) }
	}
	if rv.Operation == policy.Update && rv.Old != nil {
		if request.Old, err = h.Table.Scan(rv.Kind, rv.Old); err != nil {
			return pin.Request{}, fmt.Errorf("old object: %w", err)
		}
		if rv.SubResource == ephemeralContainers {
			request.Object = request.Old.WithEphemeralContainers(object)
		}
	}
	if request.Object.Count()+request.Old.Count() > workload.MaxReferences {
		return pin.Request{}, fmt.Errorf("with those of the old object: %w", workload.ErrTooManyReferences)
	}
	return request, nil
}

// response completes r by the answer.
func (a *answer) response(r *admissionv1.AdmissionResponse) *admissionv1.AdmissionResponse {
	if a.request.Object.Metadata.Controller.IsZero() || a.rv.SubResource == ephemeralContainers { // else nobody reads them
		r.Warnings = a.warnings.list
	}
	if len(a.denials) > 0 {
		code := int32(http.StatusForbidden)
		if a.crowded {
			code = http.StatusTooManyRequests
		}
		return deny(r, sentences(a.denials), code)
	}
	encoded, err := a.patch.encode()
	if err != nil {
		return deny(r, err.Error(), http.StatusInternalServerError)
	}
	if encoded != nil {
		patchType := admissionv1.PatchTypeJSONPatch
		r.Patch, r.PatchType = encoded, &patchType
	}
	if audit := auditValue(a.pins); audit != "" {
		r.AuditAnnotations = map[string]string{a.auditKey(audit): audit}
	}
	return r
}

// maxDenial bounds a denial. Controllers write it into events and into the status of what they manage,
// again and again.
const maxDenial = 4096

// sentences joins the sentences of a denial, as far as there is room.
func sentences(list []string) string {
	var b strings.Builder
	for i, s := range list {
		s = truncateTo(s, maxDenial/2)
		if i > 0 && b.Len()+len(s) > maxDenial {
			fmt.Fprintf(&b, "; and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s)
	}
	return b.String()
}

// unreadText says why a review was not read whole, and the code for it.
func unreadText(rv *review) (string, int32) {
	switch {
	case errors.Is(rv.unread, fair.ErrFull):
		return fmt.Sprintf("tagpin: too many large objects of namespace %s are waiting to be reviewed; "+
			"try again in a moment", rv.Namespace), http.StatusTooManyRequests
	case errors.Is(rv.unread, context.DeadlineExceeded):
		return fmt.Sprintf("tagpin: this large object of namespace %s got no turn in time; "+
			"try again in a moment", rv.Namespace), http.StatusTooManyRequests
	case errors.Is(rv.unread, errTooLarge):
		return fmt.Sprintf("tagpin: the review of this object is %v, counting each < as six",
			rv.unread), http.StatusRequestEntityTooLarge
	}
	return fmt.Sprintf("tagpin: the review of this object can't be read: %v", rv.unread), http.StatusBadRequest
}

// unable answers a review that can't be answered as it should be. Dry-run never denies.
func (h *Handler) unable(r *admissionv1.AdmissionResponse, message string, code int32) *admissionv1.AdmissionResponse {
	if h.Mode == pin.DryRun {
		r.Warnings = append(r.Warnings, truncate(message+"; admitted without proposed pins"))
		return r
	}
	return deny(r, message, code)
}

// reasons are those that clients tell codes apart by.
var reasons = map[int32]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusTooManyRequests:       metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError:   metav1.StatusReasonInternalError,
}

func deny(r *admissionv1.AdmissionResponse, message string, code int32) *admissionv1.AdmissionResponse {
	r.Allowed = false
	r.Result = &metav1.Status{
		Status: metav1.StatusFailure, Message: message, Code: code,
		Reason: cmp.Or(reasons[code], metav1.StatusReasonForbidden),
	}
	if code == http.StatusTooManyRequests { // the API server makes the header Retry-After of it
		r.Result.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	}
	return r
}
