// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	perSecond    = 10 // deploys of a victim
	atOnce       = 2  // deploys in flight
	fewestDeploy = 20
	mostFailed   = 5 // a victim stops after this many failures
	pullSecret   = "pull"
	readyLimit   = time.Minute
)

// Owner is the owner of pods, and their revision.
type Owner struct {
	UID      types.UID
	Revision string
}

// Victim is a tenant that deploys repeatedly.
type Victim struct {
	*Tenant
	Pins    map[string]string // the expected pins, by image
	Secrets []string          // pull secrets of its pods
	Owner   *Owner            // of its pods; if nil, it also creates Deployments
}

// NewVictim creates a tenant that deploys images of an honest registry. pins are the expected pins.
func NewVictim(ctx context.Context, place Place, pins map[string]string) (*Victim, error) {
	t, err := NewTenant(ctx, place)
	if err != nil {
		return nil, err
	}
	return &Victim{Tenant: t, Pins: pins}, nil
}

// NewStrictVictim creates a tenant whose registry answers 401 for everything that it does not have.
func NewStrictVictim(ctx context.Context, place Place) (*Victim, error) {
	v, err := NewVictim(ctx, place, map[string]string{})
	if err != nil {
		return nil, err
	}
	h, err := v.Serve(ctx, strict)
	if err != nil {
		return nil, err
	}
	image := h.Address + "/team/app:1"
	v.Pins[image] = image + "@" + digest.FromString(strictBody).String()
	return v, v.SetSecret(ctx, h.Address, strictUser, strictPassword)
}

// SetSecret gives the victim's pods a pull secret.
func (v *Victim) SetSecret(ctx context.Context, host, user, password string) error {
	v.Secrets = []string{pullSecret}
	return v.secret(ctx, pullSecret, dockerConfig(map[string]any{host: auth(user, password)}))
}

// Store creates pods of the victim's owner, as siblings of all pods that it deploys.
func (v *Victim) Store(ctx context.Context) error {
	for image := range v.Pins {
		pod := owned(newPod([]string{image}, v.Secrets...), *v.Owner)
		_, err := v.Client.CoreV1().Pods(v.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

// images returns the victim's images in a fixed order.
func (v *Victim) images() []string { return slices.Sorted(maps.Keys(v.Pins)) }

// object returns object number i: a Pod and a Deployment in turn, or only Pods if they have an
// owner.
func (v *Victim) object(i int) (o any, image string) {
	images := v.images()
	image = images[i/2%len(images)]
	switch {
	case v.Owner != nil:
		return owned(newPod([]string{image}, v.Secrets...), *v.Owner), image
	case i%2 == 0:
		return newPod([]string{image}, v.Secrets...), image
	default:
		return newDeployment([]string{image}, v.Secrets...), image
	}
}

// Ready waits until a deploy of the victim is pinned. The API server learns of a namespace's label
// and of tagpin's registration with a delay.
func (v *Victim) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		o, image := v.object(0)
		images, err := v.deploy(ctx, o)
		if err == nil && images[0] == v.Pins[image] {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.messages = nil
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a deploy before the attack is not pinned: %q, %w",
				images, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Result is what a victim has observed.
type Result struct {
	Deploys, Unpinned, Failed int
	Slowest                   time.Duration   // time until an answer
	Times                     []time.Duration // times until all answers
	Messages                  []string        // warnings and errors
	Rounds                    int             // of the attack
}

// String returns a line for a test's log.
func (s Result) String() string {
	return fmt.Sprintf("%d deploys, %d not pinned, %d failed, slowest answer %s, "+
		"%d rounds of the attack",
		s.Deploys, s.Unpinned, s.Failed, s.Slowest.Round(time.Millisecond), s.Rounds)
}

// deployUntil deploys until done is closed, and at least fewestDeploy times unless too many fail.
func (v *Victim) deployUntil(ctx context.Context, done <-chan struct{}) Result {
	var (
		mu     sync.Mutex
		result Result
		wg     sync.WaitGroup
	)
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	places := make(chan struct{}, atOnce)
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-done:
			mu.Lock()
			enough := i >= fewestDeploy || result.Failed >= mostFailed
			mu.Unlock()
			if enough {
				wg.Wait()
				result.Messages = v.Messages()
				return result
			}
		default:
		}
		<-tick.C
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			pinned, took, err := v.once(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			result.count(pinned, took, err)
		})
	}
	wg.Wait()
	result.Messages = v.Messages()
	return result
}

// once deploys object number i.
func (v *Victim) once(ctx context.Context, i int) (pinned bool, took time.Duration, err error) {
	o, image := v.object(i)
	began := time.Now()
	images, err := v.deploy(ctx, o)
	return err == nil && images[0] == v.Pins[image], time.Since(began), err
}

func (s *Result) count(pinned bool, took time.Duration, err error) {
	s.Deploys++
	s.Slowest = max(s.Slowest, took)
	s.Times = append(s.Times, took)
	switch {
	case err != nil:
		s.Failed++
	case !pinned:
		s.Unpinned++
	}
}

// Undisturbed returns nil if every deploy was pinned without a warning, and nothing told the victim
// who attacks.
func (s Result) Undisturbed(attacker *Tenant) error {
	var errs []error
	if s.Failed > 0 || s.Unpinned > 0 {
		errs = append(errs, fmt.Errorf("the victim had %s", s))
	}
	if len(s.Messages) > 0 {
		errs = append(errs, fmt.Errorf("the victim got %d messages: %q", len(s.Messages), s.Messages[0]))
	}
	return errors.Join(append(errs, discreet("the victim", s.Messages, attacker.names()))...)
}

// names returns the texts that only the tenant itself may read.
func (t *Tenant) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := []string{t.Namespace, canary}
	for _, h := range t.hosts {
		names = append(names, h.Address)
	}
	return names
}

// discreet returns an error if a text contains a secret, or a character that a terminal may obey.
func discreet(who string, texts, secrets []string) error {
	for _, text := range texts {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				return fmt.Errorf("%s got a message with %q: %q", who, s, text)
			}
		}
		if i := strings.IndexFunc(text, control); i >= 0 {
			return fmt.Errorf("%s got a message with a control character: %q", who, text)
		}
	}
	return nil
}

// control reports whether a terminal may obey a character. Line breaks and tabs are allowed.
func control(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) }
