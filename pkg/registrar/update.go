// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"reflect"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
)

// update makes the registration as it should be. It returns the registration as it is then, also
// with an error. It writes the CAs first, so that rules that the API server refuses don't delay a
// certificate.
func (r *Registrar) update(
	ctx context.Context, live *configuration, m *certificate.Material,
) (now *configuration, waits string, err error) {
	if len(webhooks(live)) == 0 {
		return live, "", fmt.Errorf("registration %s has no webhook of tagpin's", r.Name)
	}
	if live, err = r.write(ctx, live, r.withCAs(live, m)); err != nil {
		return live, "", err
	}
	if live, waits, err = r.writeRules(ctx, live); waits != "" || err != nil {
		return live, waits, err
	}
	live, err = r.own(ctx, live)
	return live, "", err
}

// writeRules writes the rules and conditions once for each registration and config, so that two
// servers don't undo each other's changes. But it does not leave a webhook without rules: to switch
// a webhook off, delete it.
func (r *Registrar) writeRules(
	ctx context.Context, live *configuration,
) (now *configuration, waits string, err error) {
	next := rulesWritten{live.UID, r.Wanted()}
	fewest, _ := countRules(live)
	if fewest > 0 && reflect.DeepEqual(r.written, next) {
		return live, "", nil
	}
	if waits = r.whyNotWritten(ctx, live, fewest == 0); waits != "" {
		return live, waits, nil
	}
	want := withRules(live, next.with)
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[writtenBy] = r.self().String()
	now, err = r.write(ctx, live, want)
	if err != nil {
		return now, "", err
	}
	if now == live {
		r.updates.WithLabelValues("unchanged").Inc()
		r.Log.Info("registration is as it should be", "name", r.Name)
	}
	r.written, r.reached = next, reached{}
	return now, "", nil
}

// whyNotWritten returns why this server may not write the rules yet, or "". empty says that a
// webhook has no rules, so that the API server does not call it yet.
func (r *Registrar) whyNotWritten(
	ctx context.Context, live *configuration, empty bool,
) (waits string) {
	writer := parseWriter(live.Annotations[writtenBy])
	if !empty && !writer.yields(r.self(), live.Annotations[wantedImage]) {
		return waitsForOtherVersion
	}
	if err := r.Serving(); err != nil {
		return fmt.Sprintf("the webhook does not serve yet: %v", err)
	}
	leaf, err := r.Source.Get(nil)
	if err != nil {
		return err.Error()
	}
	for _, w := range webhooks(live) {
		if err := r.verify(leaf, w); err != nil {
			return fmt.Sprintf("webhook %s does not trust the certificate that is served: %v", w.Name, err)
		}
	}
	if !empty {
		return ""
	}
	return r.whyNotReached(ctx, live)
}

// withRules returns a copy of the registration that has the wanted rules and conditions.
func withRules(live *configuration, wanted *registration.Registration) *configuration {
	want := live.DeepCopy()
	for _, w := range webhooks(want) {
		wanted.Fill(w)
	}
	return want
}
