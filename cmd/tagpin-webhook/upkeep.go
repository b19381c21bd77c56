// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
)

// How often upkeep looks: two small reads. It watches nothing, for which it would need the right to list. While an error stays it
// looks later each time.
const (
	lookSoon    = time.Second      // while something is to come
	lookLater   = 10 * time.Second // while all is well, and at most
	lookTimeout = 10 * time.Second
)

// upkeep keeps the certificate, and the registration as the certificate and the config want it. It runs beside the webhook, in
// every replica, and no review waits for it.
type upkeep struct {
	log          logr.Logger
	hook         hook
	namespace    string // that the server runs in
	self         writer
	certificates *certificates
	// answers says why the webhook's port does not answer.
	answers func() error
	// reach says why a webhook is not reached as API servers reach it.
	reach func(context.Context, *admissionregistrationv1.MutatingWebhook) error
	// wanted is what the current config has registered.
	wanted   func() *registration.Registration
	changed  chan struct{} // the config has
	updates  *prometheus.CounterVec
	renewals *prometheus.CounterVec
	// rules and agrees have no labels: they are absent until the registration was read.
	rules, agrees *prometheus.GaugeVec

	sightings certificate.Sightings
	issuer    *x509.Certificate // of the certificate that is served, if that is self-managed
	filled    filling
	reaching  reaching
	owner     metav1.OwnerReference // the namespace, once it was read
	disowned  types.UID             // the registration that could not be made to depend on it
	// disownedAt is when that was tried last.
	disownedAt time.Time
	differs    bool // the registration has other rules than this server's, and the log says so
	said       string
	failing    time.Duration // what it waited for after the last look, if that failed
}

func newUpkeep(log logr.Logger, h hook, c *certificates, r prometheus.Registerer) *upkeep {
	u := &upkeep{
		log: log, hook: h, self: self(), certificates: c, changed: make(chan struct{}, 1),
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registration_updates_total",
			Help: "Looks at the registration that had something to do, by result: updated, unchanged where another replica was first, or failed.",
		}, []string{"result"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_certificate_renewals_total",
			Help: "Self-managed certificates that were made anew, by result: ok, or failed for each time that the secret could not be read or written.",
		}, []string{"result"}),
	}
	u.reach = func(ctx context.Context, w *admissionregistrationv1.MutatingWebhook) error {
		return h.reach(ctx, w, c.time)
	}
	u.rules = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_registration_rules",
		Help: "Rules in the registration that the server fills in: 0 where it is not there, or has none, so that nothing is pinned; absent until it was read.",
	}, []string{})
	u.agrees = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_registration_as_configured",
		Help: "1 if the registration has the rules and conditions that this server's version and config want, else 0; absent until it was read, and where it is not there or has no rules.",
	}, []string{})
	for _, v := range []*prometheus.CounterVec{u.updates, u.renewals} {
		v.WithLabelValues("failed") // from 0, which alerts count from
	}
	r.MustRegister(u.updates, u.renewals, c)
	if h.name != "" {
		r.MustRegister(u.rules, u.agrees)
	}
	if c.secret != nil {
		c.secret.Renewed = u.renewed
	}
	return u
}

// renewed tells of what was made anew.
func (u *upkeep) renewed(m *certificate.Material) {
	u.renewals.WithLabelValues("ok").Inc()
	u.log.Info("certificates renewed", "leafEnds", m.Leaf.Leaf.NotAfter, "caEnds", m.CAs[0].NotAfter, "cas", len(m.CAs))
}

// failed counts what went wrong; that another replica was first is none.
func failed(v *prometheus.CounterVec, err error) error {
	if err != nil && !apierrors.IsConflict(err) && !errors.Is(err, context.Canceled) {
		v.WithLabelValues("failed").Inc()
	}
	return err
}

// wake makes it look at once.
func (u *upkeep) wake() {
	select {
	case u.changed <- struct{}{}:
	default: // it is going to look
	}
}

// run looks until ctx ends.
func (u *upkeep) run(ctx context.Context) error {
	if u.hook.name == "" && u.certificates.secret == nil {
		return nil
	}
	for {
		wait := u.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-u.changed:
			u.said = "" // what still holds is said of the new config too
		case <-time.After(wait):
		}
	}
}

// look does what is due, and returns when to look again.
func (u *upkeep) look(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	waits, err := u.step(ctx)
	failing := u.failing
	u.failing = 0
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled): // the end
	case apierrors.IsConflict(err): // another replica was first
	case err != nil:
		if u.say(err.Error()) {
			u.log.Error(err, "certificates and registration")
		}
		u.failing = min(max(2*failing, lookSoon), lookLater)
		return u.failing
	case waits == "":
		u.say("")
		return lookLater
	default:
		if u.say(waits) {
			u.log.Info("certificates and registration", "waiting", waits)
		}
		if waits == notThere || waits == ofAnother {
			return lookLater
		}
	}
	return lookSoon
}

// say tells whether a text was not said last.
func (u *upkeep) say(text string) bool {
	was := u.said
	u.said = text
	return text != "" && text != was
}

// notThere is no reason to hurry: nobody calls, and nobody may ever register it.
const notThere = "the registration is not there"

// step does what can be done, and says what it waits for.
func (u *upkeep) step(ctx context.Context) (waits string, err error) {
	live, unread := u.hook.read(ctx)
	if unread == nil {
		u.note(live)
	}
	material, broken := u.renew(ctx, live, unread == nil) // what does not need the secret is done all the same
	if err := errors.Join(failed(u.updates, unread), broken); unread != nil {
		u.serve(material, u.unread)
		return "", err
	}
	if live == nil {
		u.observe(nil)
		u.serve(material, u.distrust(nil))
		if u.hook.name != "" {
			waits = notThere
		}
		return waits, broken
	}
	written, waits, err := u.tend(ctx, live, material)
	u.observe(written)
	// A certificate that is trusted is served also where the registration can't be written: no review depends on that.
	reason := u.serve(material, u.distrust(written))
	switch {
	case err != nil:
		return "", errors.Join(failed(u.updates, err), broken)
	case reason != "":
		return reason, broken
	case material != nil && material.Issuer() != material.CAs[0]:
		return unknownCA, broken
	}
	return waits, broken
}

// observe sets the metrics of the registration.
func (u *upkeep) observe(live *admissionregistrationv1.MutatingWebhookConfiguration) {
	n := rules(live)
	u.rules.WithLabelValues().Set(float64(n))
	if n == 0 {
		u.agrees.Reset()
		return
	}
	agrees := 0.
	if u.current(live) {
		agrees = 1
	} else if !u.differs {
		u.log.Info("the registration has other rules or conditions than this server's version and config want",
			"name", u.hook.name, "writtenBy", live.Annotations[writtenBy], "self", u.self.String())
	}
	u.differs = agrees == 0
	u.agrees.WithLabelValues().Set(agrees)
}

// unknownCA is why a certificate waits.
const unknownCA = "the CA is not known to all API servers yet"

// update writes what differs.
func (u *upkeep) update(ctx context.Context, live, want *admissionregistrationv1.MutatingWebhookConfiguration) (
	written *admissionregistrationv1.MutatingWebhookConfiguration, err error,
) {
	written, err = u.hook.write(ctx, live, want)
	if err == nil && written != live {
		u.updates.WithLabelValues("updated").Inc()
		u.note(written)
		u.log.Info("registration updated", "name", u.hook.name)
	}
	return written, err
}

// note takes down which CAs are trusted.
func (u *upkeep) note(live *admissionregistrationv1.MutatingWebhookConfiguration) {
	var bundles [][]byte
	for _, w := range ours(live) {
		bundles = append(bundles, w.ClientConfig.CABundle)
	}
	u.sightings.Note(bundles...)
}

// renew renews the secret. Nothing: the certificate is in files, or the secret has none that is good. It may come beside an error.
func (u *upkeep) renew(ctx context.Context, live *admissionregistrationv1.MutatingWebhookConfiguration, read bool) (*certificate.Material, error) {
	if u.certificates.secret == nil {
		return nil, nil
	}
	settled := u.sightings.Settled
	switch {
	case !read:
		settled = func(*x509.Certificate) bool { return false }
	case inert(live): // nobody calls
		settled = func(*x509.Certificate) bool { return true }
	}
	material, err := u.certificates.secret.Renew(ctx, settled)
	if material != nil {
		u.certificates.ca.Store(material.CAs[0])
	}
	return material, failed(u.renewals, err)
}
