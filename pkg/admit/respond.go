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

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// fewImages is the size of an object that is pinned without a place in Handler.Images. Nearly all
// objects are smaller, so they never wait for the large ones of others.
const fewImages = 64

// allowed returns the answer that admits the object as it is.
func allowed(rv *review) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: types.UID(rv.UID), Allowed: true}
}

// deny makes an answer refuse the object.
func deny(r *admissionv1.AdmissionResponse, message string, code int32) {
	r.Allowed = false
	r.Result = &metav1.Status{
		Status: metav1.StatusFailure, Message: message, Code: code,
		Reason: cmp.Or(reasons[code], metav1.StatusReasonForbidden),
	}
	if code == http.StatusTooManyRequests { // the API server sends it as Retry-After
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

// notReviewed returns the answer to a review whose object could not be looked at: it refuses the
// object or, in dry-run mode, which never denies, admits it with a warning.
func (h *Handler) notReviewed(
	rv *review, code int32, format string, args ...any,
) (*admissionv1.AdmissionResponse, pin.Result) {
	r, message := allowed(rv), fmt.Sprintf(format, args...)
	if h.Mode == policy.Propose {
		message += "; admitted without proposed pins"
		r.Warnings = []string{truncate(message, maxWarning)}
	} else {
		deny(r, message, code)
	}
	return r, pin.Result{}
}

// respond answers a review, even if there is a panic: an HTTP error would admit an unpinned object
// where the API server ignores failures.
func (h *Handler) respond(
	ctx context.Context, rv *review,
) (r *admissionv1.AdmissionResponse, result pin.Result) {
	defer rv.drop()
	doing := "answering the review " + rv.UID + " of namespace " + rv.Namespace
	err := h.Pinner.Panics.Catch(doing, func() error {
		r, result = h.process(ctx, rv)
		return nil
	})
	if err != nil {
		return h.notReviewed(rv, http.StatusInternalServerError, "tagpin: %v; its log has the cause", err)
	}
	return r, result
}

// process answers a review. A panic in it is caught by respond.
func (h *Handler) process(
	ctx context.Context, rv *review,
) (*admissionv1.AdmissionResponse, pin.Result) {
	switch {
	case rv.unread != nil:
		return h.notRead(rv)
	case rv.Operation != policy.Create && rv.Operation != policy.Update:
		return allowed(rv), pin.Result{}
	case !h.Table.Known(rv.Kind):
		r := allowed(rv)
		text := fmt.Sprintf("tagpin knows no pod template in a %s: its images are not pinned", rv.Kind)
		r.Warnings = []string{truncate(text, maxWarning)}
		return r, pin.Result{}
	}
	request, err := h.request(rv)
	if err != nil {
		return h.notReviewed(rv, http.StatusBadRequest, "%v", err)
	}
	rv.drop() // the lookups may take long
	if size := request.Object.Size() + request.Old.Size(); size > fewImages {
		// The object does not wait for a place, because it takes memory already.
		leave, err := h.Images.Enter(rv.peer, rv.Namespace, int64(size))
		if err != nil {
			return h.notReviewed(rv, http.StatusTooManyRequests, "tagpin: too many large objects are "+
				"being pinned beside this one of namespace %s; try again in a moment", rv.Namespace)
		}
		defer leave()
	}
	result := h.Pinner.Pin(ctx, request)
	if result.Skipped != "" {
		return allowed(rv), result
	}
	a := &answer{handler: h, rv: rv, request: request, result: result}
	a.crowded = errors.Is(context.Cause(ctx), errCrowded)
	return a.response(), result
}

// notRead returns the answer to a review of which only the beginning was read.
func (h *Handler) notRead(rv *review) (*admissionv1.AdmissionResponse, pin.Result) {
	switch {
	case errors.Is(rv.unread, fair.ErrFull):
		return h.notReviewed(rv, http.StatusTooManyRequests, "tagpin: too many large objects of "+
			"namespace %s are waiting to be reviewed; try again in a moment", rv.Namespace)
	case errors.Is(rv.unread, context.DeadlineExceeded):
		return h.notReviewed(rv, http.StatusTooManyRequests, "tagpin: this large object of "+
			"namespace %s got no turn in time; try again in a moment", rv.Namespace)
	case errors.Is(rv.unread, errTooLarge):
		return h.notReviewed(rv, http.StatusRequestEntityTooLarge,
			"tagpin: the review of this object is %v, counting each < as six", rv.unread)
	}
	return h.notReviewed(rv, http.StatusBadRequest,
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
