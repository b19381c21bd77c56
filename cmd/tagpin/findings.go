// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/printable"
)

// finding is an image that is not as it should be.
type finding struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule"` // one of the rules
	Image  string `json:"image"`
	// Message is a sentence without a full stop. It begins with the image.
	Message string `json:"message"`

	left manifest.Left // why tagpin pin leaves the image, if it does
}

// The rules of findings.
const (
	ruleUnpinned  = "unpinned"
	ruleEditedTag = "edited-tag"
)

// addHints adds each hint to the first finding that has it. files are those of the run, and program
// is its name.
func addHints(found []finding, files []*source, program string) {
	byHint := newHints(files, program)
	for _, f := range found {
		byHint.count(f.left)
	}
	for i := range found {
		found[i].Message += byHint.take(found[i].left)
	}
}

// The formats of findings, beside those that most commands have.
const (
	formatSARIF  = "sarif"
	formatGitHub = "github"
)

// printFindings prints findings in the format with a name.
func printFindings(name string, found []finding, t terminal) error {
	switch name {
	case formatJSON:
		return printJSON(t.out, found)
	case formatGitHub:
		return printGitHub(found, t.commands)
	case formatSARIF:
		return printSARIF(found, t.out)
	}
	return printLines(found, t.out)
}

// lineStart returns the name of a file for the beginning of a line of stdout. A name that begins
// with a colon would be a command of a workflow on GitHub.
func lineStart(name string) string {
	if strings.HasPrefix(name, ":") {
		name = "./" + name
	}
	return printable.Text(name)
}

func printLines(found []finding, out io.Writer) error {
	for _, f := range found {
		_, err := fmt.Fprintf(out, "%s: %s\n",
			place(lineStart(f.File), f.Line, f.Column), printable.Text(f.Message))
		if err != nil {
			return err
		}
	}
	return nil
}

// printGitHub prints commands that make GitHub show the findings in a pull request
// (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands).
func printGitHub(found []finding, out io.Writer) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range found {
		_, err := fmt.Fprintf(out, "::error file=%s,line=%d,col=%d,title=%s::%s\n",
			property.Replace(filepath.ToSlash(f.File)), f.Line, f.Column,
			property.Replace("tagpin: "+f.Rule), value.Replace(f.Message))
		if err != nil {
			return err
		}
	}
	return nil
}

// printSARIF prints a report in the format SARIF 2.1.0.
func printSARIF(found []finding, out io.Writer) error {
	scan := sarif.NewRunWithInformationURI("tagpin", "https://github.com/tagpin/tagpin")
	scan.Tool.Driver.WithVersion(moduleVersion())
	scan.WithColumnKind("unicodeCodePoints")
	scan.AddRule(ruleUnpinned).WithDescription("An image is not pinned to a digest.")
	scan.AddRule(ruleEditedTag).
		WithDescription("The tag of a pinned image was edited, and its digest was left.")
	for _, f := range found {
		region := sarif.NewRegion().WithStartLine(f.Line).WithStartColumn(f.Column)
		location := sarif.NewPhysicalLocation().WithRegion(region).
			WithArtifactLocation(sarif.NewSimpleArtifactLocation(fileURI(f.File)))
		scan.AddResult(sarif.NewRuleResult(f.Rule).
			WithLevel("error").
			WithMessage(sarif.NewTextMessage(f.Message)).
			AddLocation(sarif.NewLocationWithPhysicalLocation(location)))
	}
	report := sarif.NewReport()
	report.AddRun(scan)
	return report.PrettyWrite(out)
}

// fileURI returns the URI of a file or, for a relative path, a relative reference (RFC 3986), as
// code scanning expects it. Its colons are escaped: a scheme would end with one.
func fileURI(path string) string {
	slashed := filepath.ToSlash(path)
	if filepath.IsAbs(path) || strings.HasPrefix(slashed, "/") {
		// The path of a URI begins with a slash, but that of a file on Windows with a drive.
		return (&url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(slashed, "/")}).String()
	}
	relative := strings.TrimPrefix((&url.URL{Path: slashed}).String(), "./")
	return strings.ReplaceAll(relative, ":", "%3A")
}
