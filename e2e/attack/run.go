// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// runLimit bounds an attack, whatever hangs.
	runLimit = 3 * time.Minute
	// roundLimit bounds a round: it is longer than an API server waits for a webhook.
	roundLimit = 30 * time.Second
)

// Round attacks once. Its error means that the attack has succeeded, or that it could not be made;
// that a request was denied is no error.
type Round func(context.Context) error

// Attack is one way to harm others.
type Attack struct {
	Name string // as a test's name, and as e2e/README.md names it
	// Prepare makes what the attack needs.
	Prepare func(ctx context.Context, t *Tenant, target *Victim) (Round, error)
}

// Run attacks in rounds while the victim deploys, until a round has ended and the victim has
// deployed often enough. It returns what the victim saw. The error is of the attack itself, or of
// texts that tell the attacker of the victim.
func Run(ctx context.Context, a Attack, attacker *Tenant, victim *Victim) (Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	if err := victim.Ready(ctx); err != nil {
		return Seen{}, err
	}
	round, err := a.Prepare(ctx, attacker, victim)
	if err != nil {
		return Seen{}, fmt.Errorf("preparing the attack: %w", err)
	}
	attacking, stop := context.WithCancel(ctx)
	defer stop()
	first, over := make(chan struct{}), make(chan struct{})
	rounds := 0
	go func() {
		defer close(over)
		for attacking.Err() == nil {
			one, cancel := context.WithTimeout(attacking, roundLimit)
			if e := round(one); e != nil && attacking.Err() == nil && err == nil {
				err = e
			}
			cancel()
			if rounds++; rounds == 1 {
				close(first)
			}
			if err != nil {
				return
			}
		}
	}()
	seen := victim.deployUntil(ctx, first)
	stop()
	<-over
	seen.Rounds = rounds
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("the attack did not end: %w", ctx.Err()))
	}
	told := discreet("the attacker", attacker.Told(), []string{victim.Namespace})
	return seen, errors.Join(err, told)
}
