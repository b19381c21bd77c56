// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// The formats that most commands have.
const (
	formatText = "text"
	formatJSON = "json"
)

// format is the flag -o. Its help, its errors and what a shell suggests are made from one list of
// formats.
type format struct {
	name  string
	known []string
}

// register adds the flag. The first format is the default. more is what the help says after the
// list of formats.
func (f *format) register(flags *pflag.FlagSet, more string, known ...string) {
	f.known = known
	flags.StringVarP(&f.name, "output", "o", known[0], "output `format`: "+either(known)+more)
}

// checkFlag returns an error if the format is not known.
func (f *format) checkFlag() error {
	if slices.Contains(f.known, f.name) {
		return nil
	}
	return fmt.Errorf("-o %s: want %s", f.name, either(f.known))
}

// either returns a list of at least two texts: a, b or c.
func either(texts []string) string {
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}
