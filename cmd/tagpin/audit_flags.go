// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	validate "k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tagpin/tagpin/pkg/audit"
)

// minInterval keeps an audit from being repeated so often that it uses up the limits of registries.
const minInterval = time.Minute

// checkFlags returns an error for each mistake in the flags.
func (a *auditing) checkFlags(flags *pflag.FlagSet) error {
	errs := []error{a.engineFlags.checkFlags()}
	for _, err := range []error{
		a.output.checkFlag(), notTogether(flags, "all-namespaces", "namespace"),
		notTogether(flags, "listen", "output"), notTogether(flags, "listen", "fail-on"),
		notTogether(flags, "listen", "timeout"), notTogether(flags, "listen", "all"),
	} {
		if err != nil {
			errs = append(errs, fmt.Errorf("audit: %w", err))
		}
	}
	if a.allRows && slices.Contains([]string{formatJSON, "html"}, a.output.name) {
		errs = append(errs, fmt.Errorf("audit: --all is for the table; -o %s has all containers",
			a.output.name))
	}
	if flags.Changed("interval") && a.listen == "" {
		errs = append(errs, errors.New("audit: --interval needs --listen"))
	}
	for _, name := range a.namespaces {
		if name == "" || len(validate.IsPathSegmentName(name)) > 0 {
			errs = append(errs, fmt.Errorf("audit: --namespace %q: no namespace can have this name", name))
		}
	}
	if _, err := labels.Parse(a.selector); err != nil {
		errs = append(errs, fmt.Errorf("audit: --selector %q: %w", a.selector, err))
	}
	var err error
	if a.states, err = failStates(a.failOn); err != nil {
		errs = append(errs, err)
	}
	if a.interval < minInterval {
		errs = append(errs, fmt.Errorf("audit: --interval %v: want at least %v", a.interval, minInterval))
	}
	return errors.Join(errs...)
}

// noState is the value of --fail-on for no state.
const noState = "none"

// knownStates returns the values of --fail-on.
func knownStates() (names []string) {
	for _, s := range audit.States() {
		names = append(names, string(s))
	}
	return append(names, noState)
}

// failStates returns the states that the values of --fail-on name.
func failStates(names []string) (states []audit.State, err error) {
	for _, name := range names {
		switch {
		case name == noState && len(names) == 1:
		case name != noState && slices.Contains(knownStates(), name):
			states = append(states, audit.State(name))
		default:
			return nil, fmt.Errorf("audit: --fail-on %s: want some of %s; %s only by itself",
				strings.Join(names, ","), either(knownStates()), noState)
		}
	}
	return states, nil
}
