// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/policy"
)

const aboutCheck = `Lists the images in files that are not pinned. It contacts no registry.

` + aboutFiles + `

An image that tagpin pin can't write is a finding too, such as one in a JSON patch, or in an object
that says that it has a controller. The finding says what to do. So is an image in a kind that
tagpin does not know: in the containers and volumes of pod specs, and in fields whose names end with
image or imageName, if the text has a tag, a digest or the host of a registry. Of several in one
kind, the first says how to name the kind in the config, with the fields in all files; tagpin help
kinds has such a config.

What may be an image, but is not one for certain, is no finding. A message names it:

  - a text that is a patch or values, and a parameter of Helm
  - in values: a repository and a tag at other keys than those of images, a name and a tag at such a
    key, and a text with a tag below images
  - in a kind that tagpin does not know: an image without a tag, with variables, or with its
    repository and its tag in fields of their own

In a Git work tree, tagpin check also lists pins whose tag was edited while the digest was left: the
cluster would go on running the image of the old tag. It compares the files with the commit HEAD, or
with --base. In the pipeline of a pull request, give its target, such as --base origin/main, because
HEAD has the edit already. All files that it reads are compared together, and with the files that
the work tree no longer has, so that a pin that has moved to another file is found too. Images in
texts, such as patches within a Kustomization, are not compared. An image that is not pinned is a
finding even if that commit has it too. To begin with files that have many, pin all of them first
with tagpin pin --write, or put the comment "# tagpin:ignore" above those that stay.

The exit code is 1 if there is a finding. It is 2 if a file, a folder or stdin has nothing that
tagpin knows, so that a wrong path does not pass. It is also 2 if a file can't be parsed and was
named, or may have images for another program; other files in a folder that can't be parsed are
skipped with a message. To see what pinning would change, which asks the registries, use tagpin pin
--check.`

// checking has the flags of tagpin check.
type checking struct {
	fileFlags

	config, base string
	output       format
}

func newCheckCommand(t terminal) *cobra.Command {
	var k checking
	c := &cobra.Command{
		Use:   "check [FILE | DIR | -]…",
		Short: "List the images in files that are not pinned, offline",
		Long:  aboutCheck,
		Example: "  tagpin check k8s/\n" +
			"  tagpin check --base origin/main k8s/\n" +
			"  tagpin check -o sarif . > tagpin.sarif\n" +
			"  helm template my-chart | tagpin check",
		RunE: func(c *cobra.Command, args []string) error {
			args, err := k.arguments(args, t)
			if err != nil {
				return err
			}
			if err := k.checkFlags(); err != nil {
				return err
			}
			return k.run(c.Context(), args, t)
		},
	}
	k.register(c.Name(), c.Flags())
	k.gate = true
	c.Flags().StringVar(&k.config, "config", "",
		"config `file` of the webhook; this command uses exemptImages, shortNames and templates")
	c.Flags().StringVar(&k.base, "base", "",
		"Git `revision` to compare the tags of pins with (default HEAD, in a Git work tree); images "+
			"that are not pinned are listed all the same, even if the revision has them")
	k.output.register(c.Flags(), "; text is a line file:line:column: for each finding, sarif is "+
		"version 2.1.0, for code scanning, and github is messages of a workflow",
		formatText, formatJSON, formatSARIF, formatGitHub)
	return c
}

// checkFlags returns an error for each mistake in the flags.
func (k *checking) checkFlags() error {
	errs := []error{k.fileFlags.checkFlags()}
	if err := k.output.checkFlag(); err != nil {
		errs = append(errs, fmt.Errorf("check: %w", err))
	}
	return errors.Join(errs...)
}

func (k *checking) run(ctx context.Context, args []string, t terminal) error {
	c, err := loadConfig(ctx, k.config)
	if err != nil {
		return err
	}
	rules := c.Policy()
	s := k.find(ctx, args, t)
	k.parse(ctx, s, c.Table(), nil, t)
	found := []finding{}
	errs := slices.Concat(s.broken, s.unread)
	for _, err := range s.unknown {
		if k.allowNone {
			t.complain(err)
		} else {
			errs = append(errs, err)
		}
	}
	parse := func(file *source, data []byte) (*manifest.File, error) {
		return manifest.ParseAs(file.path, file.as, data, c.Table())
	}
	base, err := k.readBase(ctx, s.files, parse, t)
	tags := newComparison(s.all, base)
	errs = append(errs, err, k.addMoved(ctx, tags, s.all, parse, t))
	n, byHint := s.tally(), newHints(s.files, t.program)
	byHint.countAll(s.files, func(l manifest.Left) bool { return !l.Reference })
	gone, renew := tags.gone(), k.renewals(s, &rules, t.program)
	for _, file := range s.files {
		found = append(found, inOrder(slices.Concat(
			unpinned(file, &rules, n, byHint, t), tags.editedTags(file, gone, renew)))...)
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	addHints(found, s.files, t.program)
	if err := printFindings(k.output.name, found, t); err != nil {
		errs = append(errs, err)
	}
	end := ending(len(found) > 0, errors.Join(errs...), nil)
	return t.conclude(end, checkSummary(n, found, s))
}

// checkSummary says in one line what was checked.
func checkSummary(n *tally, found []finding, s *sources) string {
	files, bad := 0, map[string]int{}
	for _, file := range s.all { // each once, whereas s.files has those of several names again
		if file.err == nil && file.file.Recognized() {
			files++
		}
	}
	for _, f := range found {
		bad[f.Rule]++
	}
	parts := []string{"checked " + amount.Of(n.images(), "image") + " in " + amount.Of(files, "file")}
	return strings.Join(append(append(parts, some(
		quantity{bad[ruleUnpinned], "is not pinned", "are not pinned"},
		quantity{bad[ruleEditedTag], "tag was edited", "tags were edited"},
	)...), n.parts("was not checked", "were not checked")...), "; ")
}

// unpinned returns the references that tagpin pin would resolve, and those that it would if it knew
// how. It counts all of them, and prints messages about others.
func unpinned(
	s *source, rules *policy.Policy, n *tally, byHint hints, t terminal,
) (found []finding) {
	add := func(d policy.Decision, line, column int, left manifest.Left) {
		if n.stays(d, place(s.file.Name, line, column), "checked", t) {
			return
		}
		n.open++
		text := d.Reference.Text
		message := text + " is not pinned to a digest"
		if left.Why != "" {
			message += ", and " + t.program + " pin leaves it: " + left.Why
		}
		found = append(found, finding{
			s.file.Name, line, column, ruleUnpinned, text, message, left,
		})
	}
	for _, o := range s.file.Objects {
		plan := rules.Decide(policy.Input{Operation: policy.Create, Object: o.Object})
		var left manifest.Left
		if plan.Skipped != "" {
			plan, left.Why = decideUnowned(o.Object, rules), inOwned
		}
		for _, d := range plan.Decisions {
			line, column := o.Position(d.Reference)
			add(d, line, column, left)
		}
	}
	for _, l := range s.file.Left {
		if l.Reference {
			add(decide(l.Text, rules), l.Line, l.Column, l)
			continue
		}
		n.left++
		t.complain(byHint.message(s.file.Name, "checked", l))
	}
	return found
}

// inOrder sorts the findings of a file by their places.
func inOrder(found []finding) []finding {
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return found
}
