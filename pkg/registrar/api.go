// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/pkg/registration"
)

// A registration is a configuration with one webhook for each mode.
type (
	configuration = admissionregistrationv1.MutatingWebhookConfiguration
	webhook       = admissionregistrationv1.MutatingWebhook
)

// read reads the registration. It is no error if that does not exist.
func (r *Registrar) read(ctx context.Context) error {
	r.live, r.readable = nil, false
	if r.Name != "" {
		configurations := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
		live, err := configurations.Get(ctx, r.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			r.live = live
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("reading registration %s: %w", r.Name, err)
		}
	}
	r.readable = true
	r.note()
	r.noteRestored()
	return nil
}

// noteRestored lets the rules be written again if the registration is older than the one that was
// read before. The API server only ever increases the generation, so etcd was restored.
func (r *Registrar) noteRestored() {
	if r.live == nil {
		return
	}
	if r.live.UID == r.uid && r.live.Generation < r.generation {
		r.Log.Info("the registration is older than before, as after etcd was restored from a backup: "+
			"its rules are written again", "name", r.Name)
		r.written = ""
	}
	r.noteWritten()
}

// noteWritten records which registration there is, and the greatest number of writes that it had.
func (r *Registrar) noteWritten() {
	if r.live.UID != r.uid {
		r.times = 0
	}
	r.uid, r.generation = r.live.UID, r.live.Generation
	r.times = max(r.times, timesWritten(r.live))
}

// write changes the registration to want, if the API server still has the one that was read.
func (r *Registrar) write(ctx context.Context, want *configuration) error {
	patch, err := difference(r.live, want)
	if patch == nil {
		return err
	}
	written, err := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(
		ctx, r.Name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{FieldManager: "tagpin-webhook"})
	if err != nil {
		return fmt.Errorf("writing registration %s: %w", r.Name, err)
	}
	r.live = written
	r.noteWritten()
	r.note()
	r.updates.WithLabelValues("updated").Inc()
	r.Log.Info("registration updated", "name", r.Name)
	return nil
}

// difference returns a strategic merge patch, or nil if nothing differs. Unlike an update, the
// patch keeps fields that are newer than the Go types. It has the version that was read, so that
// the API server reports a conflict if that is not the latest one. A JSON patch would fail before
// that check, as an invalid one, if the place that it changes is gone.
func difference(live, want *configuration) ([]byte, error) {
	if equality.Semantic.DeepEqual(live, want) {
		return nil, nil
	}
	return client.StrategicMergeFrom(live, client.MergeFromWithOptimisticLock{}).Data(want)
}

// webhooks returns the webhooks of a registration that are tagpin's.
func webhooks(live *configuration) (list []*webhook) {
	if live == nil {
		return nil
	}
	for i := range live.Webhooks {
		if registration.IsWebhook(live.Webhooks[i].Name) {
			list = append(list, &live.Webhooks[i])
		}
	}
	return list
}

// countRules returns the number of rules of the webhook with the fewest and of the one with the
// most.
func countRules(live *configuration) (fewest, most int) {
	for i, w := range webhooks(live) {
		n := len(w.Rules)
		if i == 0 || n < fewest {
			fewest = n
		}
		most = max(most, n)
	}
	return fewest, most
}
