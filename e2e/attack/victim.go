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
	perSecond    = 10 // how often a victim deploys
	atOnce       = 2  // how many deploys of it are under way
	fewestDeploy = 20
	mostFailed   = 5 // after so many failures it has seen enough
	pullSecret   = "pull"
	readyLimit   = time.Minute
)

// Owner is the owner of pods, and its revision.
type Owner struct {
	UID      types.UID
	Revision string
}

// Victim is a tenant that deploys again and again.
type Victim struct {
	*Tenant
	Pins    map[string]string // by image: what it is to be pinned to
	Secrets []string          // pull secrets of its pods
	Owner   *Owner            // of its pods; nil: it also deploys Deployments
}

// NewVictim makes a tenant that deploys images from an honest registry. pins are what they are to
// be pinned to. It returns when tagpin answers for its namespace.
func NewVictim(ctx context.Context, place Place, pins map[string]string) (*Victim, error) {
	t, err := NewTenant(ctx, place)
	if err != nil {
		return nil, err
	}
	return &Victim{Tenant: t, Pins: pins}, nil
}

// NewStrictVictim makes a tenant whose registry answers 401 for whatever it does not have.
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

// Store creates a pod of the victim's owner, which becomes a sibling of all that it deploys.
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

// images are the victim's images in an order.
func (v *Victim) images() []string { return slices.Sorted(maps.Keys(v.Pins)) }

// object is what the victim deploys at time i: a Pod and a Deployment in turn.
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

// Ready waits until a deploy of the victim is pinned: the API server learns of a namespace's label
// and of tagpin's registration a little later.
func (v *Victim) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		o, image := v.object(0)
		images, err := v.deploy(ctx, o)
		if err == nil && images[0] == v.Pins[image] {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.told = nil
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nothing attacks yet, and a deploy is not pinned: %q, %w",
				images, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Seen is what a victim has seen.
type Seen struct {
	Deploys, Unpinned, Failed int
	Slowest                   time.Duration // answer to a deploy
	Told                      []string      // warnings and errors
	Rounds                    int           // of the attack
}

// String is a line for a test's log.
func (s Seen) String() string {
	return fmt.Sprintf("%d deploys, %d not pinned, %d failed, slowest answer %s, attacked %d times",
		s.Deploys, s.Unpinned, s.Failed, s.Slowest.Round(time.Millisecond), s.Rounds)
}

// deployUntil deploys until done is closed, and at least fewestDeploy times if that goes well.
func (v *Victim) deployUntil(ctx context.Context, done <-chan struct{}) Seen {
	var (
		mu   sync.Mutex
		seen Seen
		wg   sync.WaitGroup
	)
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	places := make(chan struct{}, atOnce)
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-done:
			mu.Lock()
			enough := i >= fewestDeploy || seen.Failed >= mostFailed
			mu.Unlock()
			if enough {
				wg.Wait()
				seen.Told = v.Told()
				return seen
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
			seen.count(pinned, took, err)
		})
	}
	wg.Wait()
	seen.Told = v.Told()
	return seen
}

// once deploys once.
func (v *Victim) once(ctx context.Context, i int) (pinned bool, took time.Duration, err error) {
	o, image := v.object(i)
	began := time.Now()
	images, err := v.deploy(ctx, o)
	return err == nil && images[0] == v.Pins[image], time.Since(began), err
}

func (s *Seen) count(pinned bool, took time.Duration, err error) {
	s.Deploys++
	s.Slowest = max(s.Slowest, took)
	switch {
	case err != nil:
		s.Failed++
	case !pinned:
		s.Unpinned++
	}
}

// Undisturbed says what was wrong for the victim, if anything was: every deploy has to be pinned,
// without a warning, and nothing may tell the victim who attacks.
func (s Seen) Undisturbed(attacker *Tenant) error {
	var errs []error
	if s.Failed > 0 || s.Unpinned > 0 {
		errs = append(errs, fmt.Errorf("the victim saw %s", s))
	}
	if len(s.Told) > 0 {
		errs = append(errs, fmt.Errorf("the victim was told %d times: %q", len(s.Told), s.Told[0]))
	}
	return errors.Join(append(errs, discreet("the victim", s.Told, attacker.names()))...)
}

// names are what only the tenant should read of itself.
func (t *Tenant) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := []string{t.Namespace, canary}
	for _, h := range t.hosts {
		names = append(names, h.Address)
	}
	return names
}

// discreet finds texts that name another tenant, or that a terminal would obey.
func discreet(who string, texts, secrets []string) error {
	for _, text := range texts {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				return fmt.Errorf("%s was told of %q: %q", who, s, text)
			}
		}
		if i := strings.IndexFunc(text, control); i >= 0 {
			return fmt.Errorf("%s was sent a control character: %q", who, text)
		}
	}
	return nil
}

// control reports whether a terminal may obey a character. Line breaks are kubectl's and ours.
func control(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) }
