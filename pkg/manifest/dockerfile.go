// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// dockerfileName matches Dockerfile, Containerfile, Dockerfile.dev, Dockerfile-dev and
// dev.Dockerfile, which are the names that Docker, Podman and editors know. Docker also takes
// dockerfile.
var dockerfileName = regexp.MustCompile(`(?i)^(.*\.)?(Docker|Container)file([-_.].*)?$`)

// These tell other files that have such a name from Dockerfiles, by their extensions.
var (
	documentName = regexp.MustCompile(`(?i)\.(dockerignore|html?|json|lock|md|rst|toml|xml|ya?ml)$`)
	sourceName   = regexp.MustCompile(
		`(?i)\.(cc?|cpp|cs|css|go|h|java|jsx?|kt|lua|php|pl|ps1|py|rb|rs|scala|sh|sql|swift|tsx?|vim)$`)
	// forLanguage matches Dockerfile.go, which is for a program in Go. A file in Go is dockerfile.go.
	forLanguage = regexp.MustCompile(`(^|\.)(Docker|Container)file\.\w+$`)
)

func isDockerfile(name string) bool {
	base := filepath.Base(name)
	return dockerfileName.MatchString(base) && !documentName.MatchString(base) &&
		(!sourceName.MatchString(base) || forLanguage.MatchString(base))
}

var dockerfileFormat = &format{name: "Dockerfile"}

// dockerfile is the search for the references of a Dockerfile: the images of FROM, of the flag
// --from of COPY, of the mounts of RUN, and the frontend that the directive syntax names.
type dockerfile struct {
	file   *File
	lines  []int // the offset of each line; here only LF ends a line
	escape string
	stages map[string]bool // the names of the stages so far, in lower case
	// trigger reports that the instruction is one of ONBUILD, which runs in the builds that use the
	// image. They have their own stages.
	trigger bool
	object  *Object

	byText   map[string]word // the words of the instruction that begins at the line byTextOf
	byTextOf int
}

// parseDockerfile adds the references of the file.
func (f *File) parseDockerfile() error {
	d := newDockerfile(f)
	if d.syntax() {
		d.end()
		return nil
	}
	result, err := parser.Parse(bytes.NewReader(f.data))
	if err != nil {
		line := 1
		if at := new(parser.LocationError); errors.As(err, &at) {
			line, err = max(at.Locations[0][0].Start.Line, 1), at.Unwrap()
		}
		return f.errorf(line, "%w", err)
	}
	d.escape = string(result.EscapeToken)
	for _, n := range result.AST.Children {
		if _, ok := command.Commands[strings.ToLower(n.Value)]; !ok {
			// It is not quoted: what only has the name of a Dockerfile may be a secret.
			return f.errorf(n.StartLine, "this is no instruction of a Dockerfile")
		}
		d.instruction(n)
	}
	d.end()
	return nil
}

func newDockerfile(f *File) *dockerfile {
	d := &dockerfile{
		file: f, lines: []int{0}, stages: map[string]bool{},
		object: &Object{
			Object: &workload.Object{
				Kind: workload.Kind{Kind: dockerfileFormat.name}, Custom: true,
				PodSpecs: make([]workload.PodSpec, 1),
			},
			file: f, line: 1, places: map[string]place{},
		},
	}
	for i, c := range f.data {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	return d
}

// end adds what was found to the file.
func (d *dockerfile) end() {
	d.file.formats = []*format{dockerfileFormat}
	if len(d.object.PodSpecs[0].References) > 0 {
		d.file.add(d.object)
	}
}

// syntax adds the frontend, which is an image that BuildKit runs. It reports whether the file is in
// another language, which only its frontend knows: then the directive is no comment of Dockerfiles,
// but one that begins with //, or JSON, whose place the parser does not tell.
func (d *dockerfile) syntax() (other bool) {
	if text, _, at, ok := parser.ParseDirective("syntax", d.file.data); ok {
		line := at[0].Start.Line
		for _, w := range d.words(line, line) {
			if i := strings.LastIndex(w.text, text); i >= 0 {
				d.add(text, w.start+i, line)
				return false
			}
		}
		return false
	}
	text, _, at, other := parser.DetectSyntax(d.file.data)
	if other {
		d.leaveReference(max(at[0].Start.Line, 1), text, "it is the frontend of a file in another "+
			"language than that of Dockerfiles; write its digest there")
	}
	return other
}

func (d *dockerfile) instruction(n *parser.Node) {
	switch strings.ToLower(n.Value) {
	case command.From:
		d.from(n)
	case command.Copy:
		for _, flag := range n.Flags {
			if image, ok := strings.CutPrefix(flag, "--from="); ok && !isNumber(image) { // of a stage
				d.used(n, flag, len("--from="), image)
			}
		}
	case command.Onbuild:
		if n.Next == nil {
			return
		}
		trigger := *d
		trigger.stages, trigger.trigger = map[string]bool{}, true
		for _, child := range n.Next.Children { // one, which has no lines of its own
			child.StartLine, child.EndLine = n.StartLine, n.EndLine
			trigger.instruction(child)
		}
	case command.Run:
		for _, flag := range n.Flags {
			if strings.HasPrefix(flag, "--mount=") {
				d.mount(n, flag)
			}
		}
	}
}

// from adds the image of a stage, unless it is an earlier stage or empty.
func (d *dockerfile) from(n *parser.Node) {
	if n.Next == nil {
		return
	}
	image, name := d.unquoted(n.Next.Value), ""
	if as := n.Next.Next; as != nil && strings.EqualFold(as.Value, "as") && as.Next != nil {
		name = as.Next.Value
	}
	if !d.stages[strings.ToLower(image)] && image != "scratch" {
		d.find(n, n.Next.Value, 0, image)
	}
	d.stages[strings.ToLower(name)] = true
}

// mount adds the image of a mount of RUN. Its fields are a line of CSV, whose quotes are not those
// of the flag.
func (d *dockerfile) mount(n *parser.Node, flag string) {
	at := len("--mount=")
	fields := strings.Split(flag[at:], ",")
	if strings.Contains(flag, `"`) {
		var err error
		if fields, err = csv.NewReader(strings.NewReader(flag[at:])).Read(); err != nil {
			return // BuildKit refuses it
		}
	}
	for _, field := range fields {
		if key, image, ok := strings.Cut(field, "="); ok && strings.EqualFold(key, "from") {
			d.used(n, flag, at+len("from="), image)
		}
		at += len(field) + len(",")
	}
}

// isNumber reports whether a text is a number, which is that of a stage for COPY.
func isNumber(text string) bool {
	_, err := strconv.Atoi(text)
	return err == nil
}

// used adds an image from which a stage takes files. The text can also be the name of a stage, or
// of a context that is given to the build.
func (d *dockerfile) used(n *parser.Node, word string, offset int, image string) {
	if d.stages[strings.ToLower(image)] {
		return
	}
	r, err := ref.Parse(image)
	if err == nil && !r.Tagged() && !r.Pinned() && !strings.Contains(image, "/") {
		maybe := "a named context of the build"
		if d.trigger {
			maybe = "a stage or a named context of a build that uses this image"
		}
		d.leave(n.StartLine, image, "it may be "+maybe+"; write a tag if it is an image")
		return
	}
	d.find(n, word, offset, image)
}

// find adds an image that is in a word of an instruction. The offset is that of the image in the
// word without quotes.
func (d *dockerfile) find(n *parser.Node, word string, offset int, image string) {
	if variable(image) {
		d.leave(n.StartLine, image, onVariable)
		return
	}
	w, ok := d.wordsOf(n)[word]
	switch {
	case !ok && strings.ContainsAny(word, " \t"):
		d.leaveReference(n.StartLine, image, "its flag has white space; write it without")
	case !ok:
		d.leaveReference(n.StartLine, image, onManyLines)
	case strings.HasPrefix(w.text[min(offset, len(w.text)):], image):
		d.add(image, w.start+offset, n.StartLine)
	case strings.Count(w.text, image) == 1:
		d.add(image, w.start+strings.Index(w.text, image), n.StartLine)
	default:
		d.leaveReference(n.StartLine, image, inParts)
	}
}

// inParts is why an image can't be pinned whose text is not in the file as BuildKit reads it.
const inParts = "a part of it is quoted or escaped; write it without that"

func (d *dockerfile) add(image string, start, line int) {
	spec := &d.object.PodSpecs[0]
	pointer := fmt.Sprintf("/%d", len(spec.References))
	d.object.places[pointer] = place{span: span{start, start + len(image)}, line: line}
	spec.References = append(spec.References, workload.Reference{
		Name: fmt.Sprintf("line %d", line), Pointer: pointer, Text: image,
	})
}

// leaveReference leaves a reference that can't be pinned where it is. If it has a digest, it is
// added to File.Pinned instead.
func (d *dockerfile) leaveReference(line int, image, why string) {
	if r, err := ref.Parse(image); err != nil || !r.Pinned() {
		d.leaveAs(line, Left{Text: image, Reference: true, Why: why})
	} else if at, column, ok := d.position(line); ok {
		d.file.Pinned = append(d.file.Pinned, Pin{Line: at, Column: column, Text: image})
	}
}

func (d *dockerfile) leave(line int, image, why string) {
	d.leaveAs(line, Left{Text: image, Why: why})
}

func (d *dockerfile) leaveAs(line int, l Left) {
	var ok bool
	if l.Line, l.Column, ok = d.position(line); ok {
		d.file.Left = append(d.file.Left, l)
	}
}

// position returns where the instruction on a line is. ok is false if it is ignored.
func (d *dockerfile) position(line int) (at, column int, ok bool) {
	start := d.lines[line-1]
	if d.file.ignored(place{span: span{start, start}}) {
		d.file.Ignored++
		return 0, 0, false
	}
	at, column = d.file.lines.position(start)
	return at, column, true
}
