// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// update makes the registration as it should be, and returns what it waits for. It writes the CAs
// first, so that rules that the API server refuses don't delay a certificate.
func (r *Registrar) update(ctx context.Context) (waits string, err error) {
	if len(webhooks(r.live)) == 0 {
		return "", fmt.Errorf("registration %s has no webhook of tagpin's", r.Name)
	}
	if err = r.readConfig(); err != nil {
		return "", err
	}
	if err = r.write(ctx, r.withCAs()); err != nil {
		return "", err
	}
	if waits, err = r.writeRules(ctx); waits != "" || err != nil {
		return waits, err
	}
	return "", r.own(ctx)
}

// writeRules writes the rules and conditions once for each registration and config, so that two
// servers don't undo each other's changes. It writes them again if they are not those that a server
// has written last. It does not leave a webhook without rules: to switch a webhook off, delete it.
func (r *Registrar) writeRules(ctx context.Context) (waits string, err error) {
	if err = r.checkOpen(); err != nil {
		return "", err
	}
	before := r.live
	fewest, _ := countRules(before)
	lost := r.lost(before)
	if fewest > 0 && r.written == before.UID && (!lost || !r.mayRepair()) {
		return "", nil
	}
	if waits = r.whyNotWritten(ctx, fewest == 0); waits != "" {
		return waits, nil
	}
	want := withRules(before, r.wanted)
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, writtenBy, r.self().String())
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, writtenRules, hashRules(want))
	if !equality.Semantic.DeepEqual(before, want) || r.isOlderCopy(before) {
		times := strconv.FormatInt(max(r.times, timesWritten(before))+1, 10)
		metav1.SetMetaDataAnnotation(&want.ObjectMeta, writtenTimes, times)
	}
	if err = r.write(ctx, want); err != nil {
		return "", err
	}
	if lost && r.live != before {
		r.repairs = append(r.repairs, time.Now())
		r.Log.Info("the rules or conditions of the registration were not those that a server has "+
			"written last: they are written again", "name", r.Name)
	}
	if r.live == before {
		r.updates.WithLabelValues("unchanged").Inc()
		r.Log.Info("registration is as it should be", "name", r.Name)
	}
	r.written, r.reached = before.UID, reached{}
	return "", nil
}

// lost reports whether the rules and conditions are not those that a server has written last. There
// are four cases:
//
//   - Somebody has edited them.
//   - Somebody has put back an older copy of the whole registration, as kubectl replace does.
//   - Somebody has removed the name of the server that wrote them, to have them written again.
//   - After such a copy, a server wrote them that may not replace the rules of this one.
func (r *Registrar) lost(live *configuration) bool {
	hash, by := live.Annotations[writtenRules], live.Annotations[writtenBy]
	if hash != "" && hash != hashRules(live) || r.isOlderCopy(live) {
		return true
	}
	if r.written != live.UID {
		return false // this server writes its rules for the first time
	}
	writer, wanted := parseWriter(by), live.Annotations[wantedImage]
	return by == "" || writer.yields(r.self(), wanted) && !r.self().yields(writer, wanted)
}

// isOlderCopy reports whether the rules were written before others that this server has seen in the
// same registration.
func (r *Registrar) isOlderCopy(live *configuration) bool {
	return live.UID == r.uid && timesWritten(live) < r.times
}

// A replica writes lost rules again at most maxRepairs times within repairSpan. Otherwise it and
// a program that writes other rules would undo each other's changes without end.
const (
	maxRepairs = 5
	repairSpan = time.Hour
)

func (r *Registrar) mayRepair() bool {
	r.repairs = slices.DeleteFunc(r.repairs, func(t time.Time) bool {
		return time.Since(t) >= repairSpan
	})
	return len(r.repairs) < maxRepairs
}

// checkOpen returns an error if a webhook fails open and the config wants rules that are not safe
// then. The live failure policy belongs to the manifests, and may differ from the config's.
func (r *Registrar) checkOpen() error {
	wanted := *r.config
	wanted.FailOpen = true
	for _, w := range webhooks(r.live) {
		if w.FailurePolicy == nil || *w.FailurePolicy != admissionregistrationv1.Ignore {
			continue
		}
		if err := wanted.Validate(); err != nil {
			return fmt.Errorf("registration %s keeps its rules, since webhook %s has failurePolicy "+
				"Ignore: %w; set it to Fail there, or set registration.pin to [pods] in the config",
				r.Name, w.Name, err)
		}
	}
	return nil
}

// whyNotWritten returns why this server may not write the rules yet, or "". empty says that a
// webhook has no rules, so that the API server does not call it yet.
func (r *Registrar) whyNotWritten(ctx context.Context, empty bool) (waits string) {
	writer := parseWriter(r.live.Annotations[writtenBy])
	// An older copy also has the image that the manifests wanted at its time.
	if !empty && !r.isOlderCopy(r.live) &&
		!writer.yields(r.self(), r.live.Annotations[wantedImage]) {
		return waitsForOtherVersion
	}
	if err := r.Serving(); err != nil {
		return fmt.Sprintf("the webhook does not serve yet: %v", err)
	}
	leaf, err := r.Source.Get(nil)
	if err != nil {
		return err.Error()
	}
	if waits = r.whyDistrusted(leaf, "that is served"); waits != "" || !empty {
		return waits
	}
	return r.whyNotReached(ctx)
}

// readConfig renders the registration that the config wants, if that has changed.
func (r *Registrar) readConfig() error {
	now := r.Wanted()
	if reflect.DeepEqual(now, r.config) {
		return nil
	}
	wanted, err := now.Webhooks()
	if err != nil {
		return fmt.Errorf("writing the registration that the config wants: %w", err)
	}
	r.config, r.wanted, r.written = now, wanted, ""
	return nil
}

// withRules returns a copy of the registration that has the wanted rules and conditions.
func withRules(live *configuration, wanted []webhook) *configuration {
	want := live.DeepCopy()
	for _, w := range webhooks(want) {
		for _, from := range wanted {
			if from.Name == w.Name {
				w.Rules, w.MatchConditions = from.Rules, from.MatchConditions
			}
		}
	}
	return want
}
