// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// readYAML reads the documents that start at base, which is behind a byte order mark.
func (s *Stream) readYAML(base int) error {
	source := &byLine{data: s.data[base:]}
	d := yaml.NewDecoder(source)
	for {
		var document yaml.Node
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.yamlError(err, source.lines)
		}
		t := tree{stream: s, base: base, known: map[*yaml.Node]*value{}}
		root, err := t.value(document.Content[0])
		if err != nil {
			return err
		}
		s.documents = append(s.documents, root)
	}
}

// byLine reads one line at a time: how many were read tells where the parser stands when it fails.
type byLine struct {
	data  []byte
	lines int
}

func (b *byLine) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	if i := bytes.IndexByte(b.data[:n], '\n'); i >= 0 {
		n = i + 1
	}
	if n == len(b.data) || bytes.HasSuffix(b.data[:n], []byte("\n")) {
		b.lines++
	}
	b.data = b.data[n:]
	return n, nil
}

var yamlMessage = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// yamlError is the parser's error where it belongs. What the parser expected and did not find it places where the
// construct begins, which may be a hundred lines earlier: the line that it had come to says more.
func (s *Stream) yamlError(err error, lines int) *Error {
	line, message := max(lines, 1), err.Error()
	if m := yamlMessage.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil && !strings.HasPrefix(message, "did not find expected") {
			line = n
		}
	}
	return s.errorf(line, "%s", message)
}

// tree makes values of one document's nodes.
type tree struct {
	stream *Stream
	base   int
	known  map[*yaml.Node]*value // nil while a node is being made
}

func (t *tree) value(n *yaml.Node) (*value, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v, ok := t.known[n]; ok {
		if v == nil {
			return nil, t.stream.errorf(n.Line, "anchor %s contains itself", n.Anchor)
		}
		return v, nil
	}
	t.known[n] = nil
	v := &value{line: n.Line, node: n}
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		v.kind = '{'
		err = t.mapping(v, n)
	case yaml.SequenceNode:
		v.kind = '['
		for _, c := range n.Content {
			item, itemErr := t.value(c)
			v.items, err = append(v.items, item), errors.Join(err, itemErr)
			if err != nil {
				return nil, itemErr
			}
		}
	default:
		v.kind, v.text = scalarKind(n), n.Value
	}
	t.known[n] = v
	return v, err
}

// mapping adds a mapping's own pairs, and then those that it merges, which its own come before.
func (t *tree) mapping(v *value, n *yaml.Node) error {
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, item := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, item)
			continue
		}
		k, err := t.value(key)
		if err != nil {
			return err
		}
		it, err := t.value(item)
		if err != nil {
			return err
		}
		v.add(k, it)
	}
	if len(merged) == 0 {
		return nil
	}
	has := v.names()
	for _, m := range merged {
		if err := t.merge(v, has, m); err != nil {
			return err
		}
	}
	return nil
}

// merge adds what a merge key brings: a mapping, or a sequence of them, the first of which wins.
func (t *tree) merge(v *value, has map[string]bool, n *yaml.Node) error {
	base, err := t.value(n)
	if err != nil {
		return err
	}
	bases := []*value{base}
	if base.kind == '[' {
		bases = base.items
	}
	for _, b := range bases {
		if b.kind != '{' {
			return t.stream.errorf(n.Line, "a merge key takes mappings")
		}
		if err := t.stream.expand(n.Line, pairSize*len(b.keys)); err != nil {
			return err
		}
		v.merge(has, b)
	}
	return nil
}

func scalarKind(n *yaml.Node) jsontext.Kind {
	switch n.ShortTag() {
	case "!!null":
		return 'n'
	case "!!bool":
		if strings.EqualFold(n.Value, "true") {
			return 't'
		}
		return 'f'
	case "!!int", "!!float":
		return '0'
	}
	return '"'
}

// yamlSpan finds the bytes of a scalar with its quotes. It is for scalars without white space, such as references: those
// of several lines are not needed.
func (s *Stream) yamlSpan(n *yaml.Node) (span, error) {
	at := s.afterProperties(s.lines.offset(n.Line, n.Column))
	rest := s.data[at:]
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return closing(at, rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return closing(at, rest, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := bytes.IndexAny(rest, "\r\n") + 1
		text := bytes.Index(rest[header:], []byte(n.Value))
		if header == 0 || text < 0 || n.Value == "" {
			return span{}, errors.New("its block can't be edited")
		}
		start := at + header + text
		return span{start, start + len(n.Value)}, nil
	case bytes.HasPrefix(rest, []byte(n.Value)):
		return span{at, at + len(n.Value)}, nil
	}
	return span{}, fmt.Errorf("it does not read %q there", n.Value)
}

// afterProperties skips the anchor and the tag before a node, and the white space and comments behind them.
func (s *Stream) afterProperties(at int) int {
	for at < len(s.data) {
		switch s.data[at] {
		case '&', '!':
			for at < len(s.data) && !bytes.ContainsRune([]byte(" \t\r\n"), rune(s.data[at])) {
				at++
			}
		case ' ', '\t', '\r', '\n':
			at++
		case '#':
			for at < len(s.data) && s.data[at] != '\n' && s.data[at] != '\r' {
				at++
			}
		default:
			return at
		}
	}
	return at
}

// closing finds the quote that ends what the first byte of rest begins. Behind the byte escape the next one is no end;
// a single quote is escaped by itself.
func closing(at int, rest []byte, quote, escape byte) (span, error) {
	if len(rest) == 0 || rest[0] != quote {
		return span{}, errors.New("its quotes are not where they should be")
	}
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == escape && escape != quote, rest[i] == quote && escape == quote && i+1 < len(rest) && rest[i+1] == quote:
			i++
		case rest[i] == quote:
			return span{at, at + i + 1}, nil
		}
	}
	return span{}, errors.New("its quotes are not closed")
}
