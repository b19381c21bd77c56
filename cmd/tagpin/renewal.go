// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// renewals says how to renew the digests of pins.
type renewals struct {
	rules    *policy.Policy
	commands map[*source]string // those that renew all pins of a file, and of others
	resolve  string             // the command that looks an image up, without the image
}

// renewals returns how to renew the digests of pins in files. The commands have the arguments and
// the flags of this one, because some files are known only by them: by a Kustomization in a folder,
// or by a kind in the config.
func (k *checking) renewals(s *sources, rules *policy.Policy, program string) renewals {
	command, resolve := program+" pin --write --update", program+" resolve"
	if k.config != "" {
		command += " --config " + shellWord(k.config)
		resolve += " --config " + shellWord(k.config)
	}
	for _, glob := range k.exclude {
		command += " --exclude=" + shellText(glob) // it may begin with -
	}
	arguments := map[*source]string{}
	for _, a := range s.arguments {
		once := map[*source]bool{}
		for _, file := range a.files {
			if file.path != "" && !once[file] {
				once[file] = true
				arguments[file] += " " + shellWord(a.text)
			}
		}
	}
	r := renewals{rules, map[*source]string{}, resolve}
	for file, words := range arguments {
		r.commands[file] = command + words
	}
	return r
}

// of returns how to renew the digest of a pin in a file, as an order. tagpin pin has to be able to.
func (r *renewals) of(s *source, p filePin) string {
	image, _, _ := strings.Cut(p.text, "@")
	advice := "write the digest of its new tag"
	if command := r.commands[s]; command != "" && p.object != nil && r.canPin(p.object, p.is) {
		advice += ", or renew it and all other pins there with " + command
	}
	return advice + "; if " + r.resolve + " " + shellWord(image) + " prints this digest, nothing is " +
		"wrong: put the comment # tagpin:ignore above the image until the change is merged"
}

// canPin reports whether tagpin pin --update resolves a reference.
func (r *renewals) canPin(o *manifest.Object, is workload.Reference) bool {
	plan := r.rules.Decide(policy.Input{Operation: policy.Create, Object: withoutDigests(o.Object)})
	i := slices.IndexFunc(allReferences(o.Object), func(other workload.Reference) bool {
		return other.Pointer == is.Pointer
	})
	return i >= 0 && i < len(plan.Decisions) && plan.Decisions[i].Action == policy.Resolve
}
