// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// fewImages is the size of an object that is pinned without a place in Handler.Images. Nearly all
// objects are smaller, so they are never refused because of the large ones of others.
const fewImages = 64

// allowed returns the answer that admits the object as it is.
func allowed(rv *review) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: types.UID(rv.UID), Allowed: true}
}

// deny makes an answer deny the object of a review.
//
// With 429, the API server sends Retry-After, and the clients of Kubernetes try again by
// themselves, up to ten times. A controller gets none: it would wait for that in one of its few
// workers (see pin.Patience), and its own queue tries again too.
func deny(r *admissionv1.AdmissionResponse, rv *review, message string, code int32) {
	r.Allowed = false
	r.Result = &metav1.Status{
		Status: metav1.StatusFailure, Message: message, Code: code,
		Reason: cmp.Or(reasons[code], metav1.StatusReasonForbidden),
	}
	if code == http.StatusTooManyRequests && !rv.ofController() {
		r.Result.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	}
}

// reasons are the reasons by which clients tell codes apart.
var reasons = map[int32]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusTooManyRequests:       metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError:   metav1.StatusReasonInternalError,
}

// answer is the answer to a review, with what the log and the metrics say about it.
type answer struct {
	*admissionv1.AdmissionResponse

	result pin.Result
	// unpinned is what onFailure says for an image that was not pinned although its object was
	// admitted: Allow if it says so for one of them, else Defer, or "" if there is none.
	unpinned failure.Action
	// reason is why the object was denied or not reviewed, or "".
	reason reason
}

// notReviewed returns the answer to a review whose object could not be looked at: it denies the
// object or, in dry-run mode, which never denies, admits it with a warning.
func (h *Handler) notReviewed(
	rv *review, why reason, code int32, format string, args ...any,
) answer {
	r, text := allowed(rv), message(format, args...)
	if h.Mode == policy.Propose {
		text += "; admitted without proposed pins"
		r.Warnings = []string{truncate(text, maxWarning)}
	} else {
		deny(r, rv, text, code)
	}
	return answer{AdmissionResponse: r, reason: why}
}

// respond answers a review, even if there is a panic: an HTTP error would admit an unpinned object
// where the API server ignores failures.
func (h *Handler) respond(ctx context.Context, rv *review) (a answer) {
	defer rv.drop()
	doing := "answering the review " + rv.UID + " of namespace " + rv.Namespace
	err := h.Pinner.Panics.Catch(doing, func() error {
		a = h.process(ctx, rv)
		return nil
	})
	if err != nil {
		return h.notReviewed(rv, byBug, http.StatusInternalServerError,
			"tagpin: %v; its log has the cause", err)
	}
	return a
}

// process answers a review. A panic in it is caught by respond.
func (h *Handler) process(ctx context.Context, rv *review) answer {
	switch {
	case rv.unread != nil:
		return h.notRead(rv)
	case rv.Operation != policy.Create && rv.Operation != policy.Update:
		return answer{AdmissionResponse: allowed(rv)}
	case !h.Table.Known(rv.Kind):
		r := allowed(rv)
		text := message("the images of this %s are not pinned: it is not among the `templates` of "+
			"tagpin's config; add it there, or remove it from the registration", rv.Kind)
		r.Warnings = []string{truncate(text, maxWarning)}
		return answer{AdmissionResponse: r, reason: byKind}
	}
	request, err := h.request(rv)
	if err != nil {
		return h.notReviewed(rv, byContent, http.StatusBadRequest, "%v", err)
	}
	rv.controlled = !request.Object.Metadata.Controller.IsZero()
	rv.drop() // the lookups may take long
	if size := request.Object.Size() + request.Old.Size(); size > fewImages {
		// The object does not wait for a place, because it takes memory already.
		leave, err := h.Images.Enter(rv.peer, rv.Namespace, int64(size))
		if err != nil {
			return h.notReviewed(rv, byImages, http.StatusTooManyRequests, "tagpin: too many large "+
				"objects are being pinned beside this one of namespace %s; try again in a moment",
				rv.Namespace)
		}
		defer leave()
	}
	result := h.Pinner.Pin(ctx, request)
	if result.Skipped != "" {
		return answer{AdmissionResponse: allowed(rv), result: result}
	}
	b := &builder{
		handler: h, rv: rv, request: request,
		cutShort: errors.Is(context.Cause(ctx), errTooManySlow),
		answer:   answer{AdmissionResponse: allowed(rv), result: result},
	}
	return b.build()
}

// notRead returns the answer to a review that could not be read as a whole.
func (h *Handler) notRead(rv *review) answer {
	switch {
	case errors.Is(rv.unread, fair.ErrFull):
		return h.notReviewed(rv, byReviews, http.StatusTooManyRequests, "tagpin: too many large "+
			"objects of namespace %s are waiting to be reviewed; try again in a moment", rv.Namespace)
	case errors.Is(rv.unread, context.DeadlineExceeded):
		return h.notReviewed(rv, byReviews, http.StatusTooManyRequests, "tagpin: this large object of "+
			"namespace %s got no turn in time; try again in a moment", rv.Namespace)
	case errors.Is(rv.unread, errTooLarge):
		return h.notReviewed(rv, bySize, http.StatusRequestEntityTooLarge,
			"tagpin: this object is too large: its review has more than 16 MiB, in which the API server "+
				"writes characters such as < as six bytes; make it smaller")
	}
	return h.notReviewed(rv, byContent, http.StatusBadRequest,
		"tagpin: the review of this object can't be read: %v", rv.unread)
}

// request scans the objects of a review.
func (h *Handler) request(rv *review) (pin.Request, error) {
	if rv.Object.Value == nil {
		return pin.Request{}, fmt.Errorf("the review of %s has no object", rv.Operation)
	}
	object, err := h.Table.Scan(rv.Kind, rv.Object.Value)
	if err != nil {
		return pin.Request{}, err
	}
	request := pin.Request{
		Input: policy.Input{
			Operation: rv.Operation, Mode: h.Mode, User: rv.User.Name, Node: bool(rv.User.Node),
			Object: object,
		},
		Namespace: rv.Namespace, Sender: rv.peer, DryRun: rv.DryRun,
		Keychain: func(id workload.Identity) keychain.Keychain {
			return h.Keychain(rv.Namespace, id)
		},
	}
	if rv.Operation == policy.Update && rv.Old.Value != nil {
		if request.Old, err = h.Table.Scan(rv.Kind, rv.Old.Value); err != nil {
			return pin.Request{}, fmt.Errorf("old object: %w", err)
		}
		if rv.SubResource == ephemeralContainers {
			request.Object = request.Old.WithEphemeralContainers(object)
		}
	}
	if request.Object.Count()+request.Old.Count() > workload.MaxReferences {
		return pin.Request{}, fmt.Errorf("with those of the old object: %w",
			workload.ErrTooManyReferences)
	}
	return request, nil
}
