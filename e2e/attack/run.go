// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// runLimit bounds an attack, even if something hangs.
	runLimit = 3 * time.Minute
	// roundLimit bounds a round. It is longer than an API server waits for a webhook.
	roundLimit = 30 * time.Second
)

// Round attacks once. An error means that the attack succeeded, or that it could not be made. A
// denied request is not an error.
type Round func(context.Context) error

// Attack is a way to harm others.
type Attack struct {
	Name string // also the name of the subtest, and in e2e/README.md
	// Prepare creates what the attack needs.
	Prepare func(ctx context.Context, t *Tenant, target *Victim) (Round, error)
}

// None is not an attack. It lasts as long as some attacks, to observe a victim that nobody attacks.
func None(lasting time.Duration) Attack {
	return Attack{"none", func(context.Context, *Tenant, *Victim) (Round, error) {
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, lasting)
			defer cancel()
			<-ctx.Done()
			return nil
		}, nil
	}}
}

// Run attacks in rounds while the victim deploys, until a round has ended and the victim has
// deployed often enough. It returns what the victim observed. An error means that the attack
// succeeded or failed to run, or that the attacker read something about the victim.
func Run(ctx context.Context, a Attack, attacker *Tenant, victim *Victim) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	if err := victim.Ready(ctx); err != nil {
		return Result{}, err
	}
	round, err := a.Prepare(ctx, attacker, victim)
	if err != nil {
		return Result{}, fmt.Errorf("preparing the attack: %w", err)
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
	result := victim.deployUntil(ctx, first)
	stop()
	<-over
	result.Rounds = rounds
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("the attack did not end: %w", ctx.Err()))
	}
	leak := discreet("the attacker", attacker.Messages(), []string{victim.Namespace})
	return result, errors.Join(err, leak)
}
