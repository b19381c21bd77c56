// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML parses all documents of text, the file without its byte order mark.
func (f *File) parseYAML(text []byte) error {
	source := &lineReader{rest: text}
	d := yaml.NewDecoder(source)
	for {
		var document yaml.Node
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return f.yamlError(err, text[:len(text)-len(source.rest)])
		}
		if err := f.checkAliases(&document); err != nil {
			return err
		}
		root, err := f.expand(document.Content[0], map[*yaml.Node]bool{})
		if err != nil {
			return err
		}
		f.documents = append(f.documents, root)
	}
}

// lineReader returns at most one line from each Read, so that rest tells where the parser failed.
type lineReader struct{ rest []byte }

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	if i := bytes.IndexByte(r.rest[:n], '\n'); i >= 0 {
		n = i + 1
	}
	r.rest = r.rest[n:]
	return n, nil
}

var yamlMessage = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// yamlError converts an error of the YAML parser. read is the text that the parser has read.
//
// If the parser did not find what it expected, its error has the line where the enclosing construct
// begins, which may be far above. In that case the line that was read last is more useful.
func (f *File) yamlError(err error, read []byte) error {
	line, message := 1+bytes.Count(bytes.TrimSuffix(read, []byte("\n")), []byte("\n")), err.Error()
	if m := yamlMessage.FindStringSubmatch(message); m != nil {
		message = m[2]
		n, err := strconv.Atoi(m[1])
		if err == nil && !strings.HasPrefix(message, "did not find expected") {
			line = n
		}
	}
	return f.errorf(line, "%s", message)
}

// checkAliases returns an error if an alias in a document refers to an anchor of an earlier one.
// The YAML parser follows such an alias, but an anchor is only known in its own document
// (https://yaml.org/spec/1.2.2/#3222-anchors-and-aliases), and kubectl refuses the file.
func (f *File) checkAliases(document *yaml.Node) error {
	anchors := map[*yaml.Node]bool{}
	var check func(n *yaml.Node) error
	check = func(n *yaml.Node) error {
		if n.Kind == yaml.AliasNode && !anchors[n.Alias] {
			return f.errorf(n.Line, "unknown anchor '%s' referenced: it is in another document", n.Value)
		}
		if n.Anchor != "" {
			anchors[n] = true
		}
		for _, c := range n.Content {
			if err := check(c); err != nil {
				return err
			}
		}
		return nil
	}
	return check(document)
}

// expand returns n, or what n refers to if it is an alias. In the nodes below it, it replaces the
// aliases by what they refer to, and the merge keys by the pairs that they add. known has the nodes
// that were expanded already; the value is false for one that is being expanded.
func (f *File) expand(n *yaml.Node, known map[*yaml.Node]bool) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n, f.aliases = n.Alias, true
	}
	if expanded, ok := known[n]; ok {
		if !expanded {
			return nil, f.errorf(n.Line, "anchor %s contains itself", n.Anchor)
		}
		return n, nil
	}
	known[n] = false
	var merged []*yaml.Node
	if n.Kind == yaml.MappingNode {
		n.Content, merged = splitMerged(n.Content)
	}
	for i, c := range n.Content {
		var err error
		if n.Content[i], err = f.expand(c, known); err != nil {
			return nil, err
		}
		if c.Kind == yaml.AliasNode {
			f.addAlias(useOf(n, i), c.Line)
		}
	}
	if err := f.merge(n, merged, known); err != nil {
		return nil, err
	}
	known[n] = true
	return n, nil
}

// addAlias notes the line of an alias, of which only the use stays, for the comments there.
func (f *File) addAlias(at use, line int) {
	if len(f.ignores) == 0 {
		return
	}
	if f.aliasLines == nil {
		f.aliasLines = map[use]int{}
	}
	f.aliasLines[at] = line
}

// splitMerged splits the pairs of a mapping into its own ones, and the values of its merge keys.
func splitMerged(pairs []*yaml.Node) (own, merged []*yaml.Node) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[0].ShortTag() == "!!merge" {
			merged = append(merged, pair[1])
		} else {
			own = append(own, pair...)
		}
	}
	return own, merged
}

// merge adds the pairs of the values of merge keys to n. Each value is a mapping or a sequence of
// mappings (https://yaml.org/type/merge.html). Pairs of n and of earlier mappings take precedence.
func (f *File) merge(n *yaml.Node, merged []*yaml.Node, known map[*yaml.Node]bool) error {
	if len(merged) == 0 {
		return nil
	}
	names := map[string]bool{}
	for pair := range slices.Chunk(n.Content, 2) {
		if pair[0].Kind == yaml.ScalarNode {
			names[pair[0].Value] = true
		}
	}
	for _, m := range merged {
		base, err := f.expand(m, known)
		if err != nil {
			return err
		}
		bases := []*yaml.Node{base}
		if base.Kind == yaml.SequenceNode {
			bases = base.Content
		}
		for _, b := range bases {
			if b.Kind != yaml.MappingNode {
				return f.errorf(m.Line, "the value of a merge key is not a mapping")
			}
			if err := f.addExpanded(m.Line, pairSize*len(b.Content)/2); err != nil {
				return err
			}
			for pair := range slices.Chunk(b.Content, 2) {
				if k := pair[0]; k.Kind == yaml.ScalarNode && !names[k.Value] {
					names[k.Value] = true
					n.Content = append(n.Content, pair...)
					if line, ok := f.aliasLines[use{parent: b, key: k}]; ok {
						f.addAlias(use{parent: n, key: k}, line)
					}
				}
			}
		}
	}
	return nil
}

// properties matches what can be between the position of a node and its content: an anchor, a tag,
// white space and comments.
var properties = regexp.MustCompile(`^([&!][^ \t\r\n]*|[ \t\r\n]+|#[^\r\n]*)*`)

// quoted matches a text in double or single quotes.
var quoted = regexp.MustCompile(`(?s)^("([^"\\]|\\.)*"|'([^']|'')*')`)

// span returns the bytes of a scalar, including its quotes. It only supports scalars without white
// space, such as references.
func (f *File) span(n *yaml.Node) (span, error) {
	at := f.lines.offset(n.Line, n.Column)
	at += len(properties.Find(f.data[at:]))
	rest := f.data[at:]
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		if text := quoted.Find(rest); text != nil {
			return span{at, at + len(text)}, nil
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := bytes.IndexAny(rest, "\r\n") + 1
		text := bytes.Index(rest[header:], []byte(n.Value))
		if header > 0 && text >= 0 && n.Value != "" {
			start := at + header + text
			return span{start, start + len(n.Value)}, nil
		}
	case bytes.HasPrefix(rest, []byte(n.Value)):
		return span{at, at + len(n.Value)}, nil
	}
	return span{}, fmt.Errorf("can't find the text %q at its position", n.Value)
}
