// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tagDirective matches the beginning of a directive that gives tags another meaning.
var tagDirective = regexp.MustCompile(`(?:^|[\r\n\x{85}\x{2028}\x{2029}])%TAG`)

// separatorInText matches a line that kubectl takes for a separator of documents, and a YAML parser
// for a text: after ---, it has neither a space nor an end of the line for YAML.
var separatorInText = regexp.MustCompile(
	`(?m)^---[#\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]`)

// checkStream returns an error if kubectl, which cuts a text into documents before it parses them,
// reads other documents than a YAML parser. The error matches ErrMayHaveImages, because such a line
// can also be a part of a text, which changes nothing for other programs.
func (f *File) checkStream(text []byte) error {
	before := len(f.data) - len(text)
	if at := tagDirective.FindIndex(text); at != nil {
		line, _ := f.lines.position(before + at[1])
		return suspectError{f.errorf(line, "a %%TAG directive is not supported: kubectl reads each "+
			"document without it; write the tags out")}
	}
	if at := separatorInText.FindIndex(text); at != nil {
		line, _ := f.lines.position(before + at[1])
		return suspectError{f.errorf(line, "kubectl takes this line for a separator of documents; "+
			"write a space after ---")}
	}
	return nil
}

// parseYAML parses all documents of text, the file without its byte order mark.
func (f *File) parseYAML(text []byte) error {
	if err := f.checkStream(text); err != nil {
		return err
	}
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
	var merged []mergeKey
	switch {
	case n.Kind == yaml.MappingNode:
		n.Content, merged = f.splitMerged(n.Content)
	case isBinary(n):
		decodeBinary(n)
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

// isBinary reports whether a node is a text in base64 (https://yaml.org/type/binary.html).
func isBinary(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!binary"
}

// decodeBinary replaces a text in base64 by what it stands for, as kubectl does for keys and values
// alike. kubectl refuses a text that is not valid.
func decodeBinary(n *yaml.Node) {
	if text, err := base64.StdEncoding.DecodeString(n.Value); err == nil {
		n.Value = string(text)
	}
}

// isMerge reports whether a key is a merge key, as the parser of kubectl decides: it is <<, and its
// tag is !!merge. That is also the tag of << without quotes and without a tag, and of << with the
// tag !, however it is written, such as !<!> or !<%21>.
func (f *File) isMerge(key *yaml.Node) bool {
	switch {
	case key.Kind != yaml.ScalarNode || key.Value != "<<":
		return false
	case key.ShortTag() == "!!merge":
		return true
	}
	before := f.data[f.lines.offset(key.Line, key.Column):]
	if end := startOfMerge.FindIndex(before); end != nil {
		before = before[:end[0]]
	}
	return key.Style&yaml.TaggedStyle == 0 && bytes.Contains(before, []byte("!"))
}

// startOfMerge matches where the text of a key begins that is <<. Before it are its anchor, its tag
// and comments.
var startOfMerge = regexp.MustCompile(`<<|["']`)

// properties matches what can be between the position of a node and its content: an anchor, a tag,
// white space and comments.
var properties = regexp.MustCompile(`^([&!][^ \t\r\n]*|[ \t\r\n]+|#[^\r\n]*)*`)

// quoted matches a text in double or single quotes.
var quoted = regexp.MustCompile(`(?s)^("([^"\\]|\\.)*"|'([^']|'')*')`)

// spanOf is what findSpan returns.
type spanOf struct {
	span
	err error
}

// span returns the same as findSpan, and remembers that of each node: many aliases can be for it,
// and there can be a long comment before its text.
func (f *File) span(n *yaml.Node) (span, error) {
	s, ok := f.spans[n]
	if !ok {
		s.span, s.err = f.findSpan(n)
		if f.spans == nil {
			f.spans = map[*yaml.Node]spanOf{}
		}
		f.spans[n] = s
	}
	return s.span, s.err
}

// findSpan returns the bytes of a scalar, including its quotes. It only supports scalars without
// white space, such as references.
func (f *File) findSpan(n *yaml.Node) (span, error) {
	if isBinary(n) {
		return span{}, errors.New("it is written in base64 (!!binary); write it as a text")
	}
	at := f.lines.offset(n.Line, n.Column)
	at += len(properties.Find(f.data[at:]))
	rest := f.data[at:]
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		if text := quoted.Find(rest); text != nil {
			return span{at, at + len(text)}, nil
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if start := startInBlock(rest, n.Value); start >= 0 {
			return span{at + start, at + start + len(n.Value)}, nil
		}
	case bytes.HasPrefix(rest, []byte(n.Value)):
		return span{at, at + len(n.Value)}, nil
	}
	return span{}, fmt.Errorf("can't find the text %q at its position", n.Value)
}

// lineBreak matches the end of a line.
var lineBreak = regexp.MustCompile(`\r\n?|\n`)

// startInBlock returns where a value begins in data, which begins with its block, or -1. The value
// is only found if it begins in the first line of the block and has no other indented line. The
// search ends there, so that a file with many blocks does not need a time that grows with the
// square of its size.
func startInBlock(data []byte, value string) int {
	header := lineBreak.FindIndex(data)
	if header == nil || value == "" {
		return -1
	}
	block := data[header[1]:]
	end := len(block)
	if line := lineBreak.FindIndex(block); line != nil {
		end = min(end, line[0]+len(value))
	}
	start := bytes.Index(block[:end], []byte(value))
	if start < 0 {
		return -1
	}
	return header[1] + start
}
