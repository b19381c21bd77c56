// SPDX-License-Identifier: Apache-2.0

// Package registrar keeps the webhook's registration in the API server as the server's version,
// config and certificate want it, and renews the certificate.
//
// Every replica runs a Registrar; there is no leader. No review waits for it. A Registrar reads the
// registration and the secret of the certificate every ten seconds, or each second while it waits
// for something. It watches nothing, because that needs the right to list. Each time, it
//
//  1. renews the certificates in the secret that are near their end (package certificate),
//  2. writes their CAs into the registration,
//  3. writes the rules and match conditions into the registration, when the server serves a
//     certificate that the registration trusts. If the registration has no rules yet, the API
//     server doesn't call the webhook. Before the first ones are written, the Registrar waits for
//     up to a minute until it has connected to the webhook through its Service. While a webhook has
//     failurePolicy Ignore, rules for workloads are not written. Rules that somebody else has
//     edited are written again, and so are those of a registration that was restored from a backup
//     or replaced by an older copy of it,
//  4. makes the registration depend on the server's namespace, unless step 3 waits or fails, and
//  5. serves the certificate in the secret, when all API servers trust it.
//
// All other fields belong to the manifests. If the Registrar wrote them too, the next upgrade by
// Helm 4 would fail with a conflict, and nobody could change the failure policy in an emergency. It
// compares them with what the config wants, and reports the fields that differ in a metric and in
// the log.
package registrar

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
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
	"github.com/tagpin/tagpin/pkg/reminder"
)

const (
	// soon is the time to the next look while the Registrar waits for something. After errors it
	// doubles up to later.
	soon = time.Second
	// later is the time to the next look if there is nothing to do.
	later       = 10 * time.Second
	lookTimeout = 10 * time.Second
)

// Config has the settings of a Registrar. All fields are required unless they say otherwise.
type Config struct {
	Client kubernetes.Interface
	// Name is the name of the MutatingWebhookConfiguration. If empty, there is no registration to
	// write, and only the certificate is renewed.
	Name string
	// Namespace is the namespace of the server.
	Namespace string
	// DNSName is the name of the webhook's Service, for which the certificate is valid.
	DNSName string
	// Version and Image are those of this server. Image is empty if unknown.
	Version, Image string
	// Wanted returns the registration that the current config wants.
	Wanted func() *registration.Registration
	// Serving returns an error while the server can't answer reviews.
	Serving func() error
	// Source is the certificate that is served.
	Source *certificate.Source
	// Secret has the certificate. If nil, the certificate is not self-managed.
	Secret *certificate.Secret
	// Dial connects to a webhook, and returns an error if an API server could not. If nil, the
	// Registrar makes a TLS handshake where the registration says that the webhook is.
	Dial func(context.Context, *admissionregistrationv1.MutatingWebhook) error
	Log  logr.Logger
}

// Registrar keeps the registration and the certificate. New makes it.
type Registrar struct {
	Config
	*metrics

	changed chan struct{} // the config has changed

	// The rest is for the goroutine of Run. The first three are what the current look has.
	live         *configuration        // the registration; nil if there is none
	readable     bool                  // live could be read
	material     *certificate.Material // of the secret; nil if it has no valid leaf, or there is none
	sightings    certificate.Sightings
	issuer       *x509.Certificate          // of the leaf that is served, if that is self-managed
	config       *registration.Registration // what the config wants
	wanted       []webhook                  // those of config
	written      types.UID                  // of the registration that has got the rules of wanted
	reached      reached
	owner        metav1.OwnerReference // the namespace, when it was read
	ownerRefused types.UID             // of the registration whose owner the API server refused
	ownerTried   time.Time             // when it was refused last
	differs      reminder.Reminder     // what is not as wanted
	generation   int64                 // of the registration that was read last, by its UID
	uid          types.UID             // of that registration
	times        int64                 // how often servers have written its rules, as far as seen
	repairs      []time.Time           // when lost rules were written again, oldest first
	logged       reminder.Reminder     // what the last look waited for, or its error
	backoff      time.Duration         // the time to the next look, if the last one failed
}

// New returns a Registrar, and registers its metrics.
func New(c Config, r prometheus.Registerer) *Registrar {
	g := &Registrar{Config: c, metrics: newMetrics(r, c.Name != ""), changed: make(chan struct{}, 1)}
	if g.Dial == nil {
		g.Dial = g.dial
	}
	if c.Secret != nil {
		c.Secret.Renewed = func(m *certificate.Material) {
			g.renewals.WithLabelValues("ok").Inc()
			g.Log.Info("certificates renewed", "leafEnds", m.Leaf.Leaf.NotAfter,
				"caEnds", m.CAs[0].NotAfter, "cas", len(m.CAs))
		}
	}
	return g
}

// Changed tells Run that the config has changed, so that it looks at once.
func (r *Registrar) Changed() {
	select {
	case r.changed <- struct{}{}:
	default: // Run is about to look
	}
}

// Run looks after the registration and the certificate until ctx ends.
func (r *Registrar) Run(ctx context.Context) error {
	if r.Name == "" && r.Secret == nil {
		return nil
	}
	for {
		wait := r.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			r.logged = reminder.Reminder{} // so that the log has what the new config waits for
		case <-time.After(wait):
		}
	}
}

// look does what is due, and returns the time to the next look.
func (r *Registrar) look(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	waits, err := r.step(ctx)
	backoff := r.backoff
	r.backoff = 0
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled): // the server ends
	case apierrors.IsConflict(err): // another replica was faster
	case err != nil:
		if r.shouldLog(err.Error()) {
			r.Log.Error(err, "certificates and registration")
		}
		r.backoff = min(max(2*backoff, soon), later)
		return r.backoff
	default:
		r.logWait(waits)
		if waits == "" || waits == waitsForRegistration || waits == waitsForOtherVersion {
			return later
		}
	}
	return soon
}

// logWait logs what a look waits for. A registration that does not exist is an error, because
// nothing is pinned and no server can create it.
func (r *Registrar) logWait(waits string) {
	switch {
	case !r.shouldLog(waits):
	case waits == waitsForRegistration:
		r.Log.Error(errors.New(waits), "certificates and registration", "name", r.Name)
	default:
		r.Log.Info("certificates and registration", "waiting", waits)
	}
}

// shouldLog reports whether a text is not empty and is to be logged.
func (r *Registrar) shouldLog(text string) bool { return r.logged.Due(text) && text != "" }

// What a look waits for, beside texts that name a webhook or an error.
const (
	waitsForAPIServers = "the CA is not known to all API servers yet"
	// Nothing needs to hurry for these two. The registration may never be created, and after an
	// upgrade this server ends soon.
	waitsForRegistration = "the registration does not exist, so nothing is pinned: unless it was " +
		"deleted on purpose, run helm upgrade with the same values, or apply the manifests again"
	waitsForOtherVersion = "the rules in the registration were written by another version " +
		"of tagpin, which is newer or which the manifests name: they stay, " +
		"and this server's config does not change them"
)

// step does what can be done now, and returns what it waits for. It goes on after errors where it
// can: what doesn't need the secret is done without it, and a certificate that is trusted is served
// even if the registration can't be written.
func (r *Registrar) step(ctx context.Context) (waits string, err error) {
	err = r.read(ctx)
	renewErr := r.renew(ctx)
	if r.live != nil {
		waits, err = r.update(ctx)
	}
	if r.readable {
		r.observe()
	}
	notServed := r.serve()
	switch {
	case err != nil:
		return "", errors.Join(failed(r.updates, err), renewErr)
	case r.live == nil && r.Name != "":
		waits = waitsForRegistration
	case notServed != "":
		waits = notServed
	case r.material != nil && r.material.Issuer() != r.material.CAs[0]:
		waits = waitsForAPIServers
	}
	return waits, renewErr
}
