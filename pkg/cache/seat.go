// SPDX-License-Identifier: Apache-2.0

package cache

import "context"

// seat is the place of a caller in a flight.
type seat[K comparable, V any] struct {
	Caller

	key    K
	flight *flight[K, V] // nil until the caller has joined one
	// own is the attempt of the caller's namespace. It is nil while the caller relies on the one of
	// another namespace.
	own     *attempt[K, V]
	endWait func(came bool) // ends OnWait; nil if it was not called
}

// ensureAttempt makes sure that there is an attempt which the caller can rely on: the shared one,
// or that of its own namespace. changed is closed when the caller has to call ensureAttempt again.
// The error is that of the own attempt, or ErrClosed.
func (f *Flights[K, V]) ensureAttempt(
	ctx context.Context, s *seat[K, V], call func(context.Context, Turn) (V, error),
) (changed <-chan struct{}, err error) {
	waits, came := false, true
	defer func() { s.noteWait(waits, came) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.flight == nil {
		if err := f.joinLocked(s); err != nil {
			return nil, err
		}
	}
	joined := s.flight
	if joined.isDone() {
		return nil, nil
	}
	if own := s.own; own != nil {
		came = !own.turnFailed
	}
	if own := s.own; own != nil && own.ended {
		switch {
		case own.err == nil: // another one had its turn first
			s.own = nil
		case joined.hasStartedLocked(): // perhaps it will have a result
			return joined.changed, nil
		default:
			return nil, own.err
		}
	}
	if s.own == nil {
		s.own = joined.attempts[s.Namespace]
		if s.own == nil && joined.shared == nil {
			if f.base.Err() != nil {
				return nil, ErrClosed
			}
			s.own = f.attemptLocked(ctx, s, call)
		}
		if s.own != nil {
			s.own.callers++
		}
	}
	waits = s.own != nil && s.own.waits
	return joined.changed, nil
}

// joinLocked joins the latest flight, if that is for the caller, or a new one.
func (f *Flights[K, V]) joinLocked(s *seat[K, V]) error {
	f.initLocked()
	if f.base.Err() != nil {
		return ErrClosed
	}
	joined := f.latest[s.key]
	if joined == nil || joined.begun && s.Fresh {
		joined = newFlightLocked(s.key, joined)
		f.latest[s.key] = joined
	}
	joined.callers++
	joined.watched = joined.watched || s.OnWait != nil
	f.adoptLocked(joined)
	s.flight = joined
	return nil
}

// noteWait tells the caller whether the attempt of its namespace waits, and if not, whether its
// turn has come, or that of another attempt which the caller relies on.
func (s *seat[K, V]) noteWait(waits, came bool) {
	switch {
	case waits && s.endWait == nil && s.OnWait != nil:
		s.endWait = s.OnWait()
	case !waits && s.endWait != nil:
		s.endWait(came)
		s.endWait = nil
	}
}

// leave removes a caller that has a result or has given up. An attempt that waits for its first
// turn ends with its last caller.
func (f *Flights[K, V]) leave(s *seat[K, V]) {
	if s.flight == nil {
		return
	}
	s.noteWait(false, s.flight.isDone())
	f.mu.Lock()
	defer f.mu.Unlock()
	left := s.flight
	left.callers--
	if own := s.own; own != nil {
		if own.callers--; own.callers == 0 && !own.started && !own.ended {
			f.endLocked(own)
		}
	}
	switch {
	case left.isDone() || left.callers > 0:
	case len(left.attempts) == 0:
		f.dropLocked(left)
	default:
		f.abandonLocked(left)
	}
}
