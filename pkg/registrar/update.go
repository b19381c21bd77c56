// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"reflect"

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
// servers don't undo each other's changes. But it does not leave a webhook without rules: to switch
// a webhook off, delete it.
func (r *Registrar) writeRules(ctx context.Context) (waits string, err error) {
	before := r.live
	fewest, _ := countRules(before)
	if fewest > 0 && r.written == before.UID {
		return "", nil
	}
	if waits = r.whyNotWritten(ctx, fewest == 0); waits != "" {
		return waits, nil
	}
	want := withRules(before, r.wanted)
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, writtenBy, r.self().String())
	if err = r.write(ctx, want); err != nil {
		return "", err
	}
	if r.live == before {
		r.updates.WithLabelValues("unchanged").Inc()
		r.Log.Info("registration is as it should be", "name", r.Name)
	}
	r.written, r.reached = before.UID, reached{}
	return "", nil
}

// whyNotWritten returns why this server may not write the rules yet, or "". empty says that a
// webhook has no rules, so that the API server does not call it yet.
func (r *Registrar) whyNotWritten(ctx context.Context, empty bool) (waits string) {
	writer := parseWriter(r.live.Annotations[writtenBy])
	if !empty && !writer.yields(r.self(), r.live.Annotations[wantedImage]) {
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
