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

// parseYAML parses all documents from the offset base, where the text after a byte order mark
// begins.
func (s *Stream) parseYAML(base int) error {
	source := &lineReader{data: s.data[base:]}
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

// lineReader returns at most one line from each Read. When the parser fails, lines is the number of
// the line that the parser has reached.
type lineReader struct {
	data  []byte
	lines int
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data)
	if i := bytes.IndexByte(r.data[:n], '\n'); i >= 0 {
		n = i + 1
	}
	if n == len(r.data) || bytes.HasSuffix(r.data[:n], []byte("\n")) {
		r.lines++
	}
	r.data = r.data[n:]
	return n, nil
}

var yamlMessage = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// yamlError converts an error of the YAML parser. lines is the number of lines that were read.
//
// If the parser did not find what it expected, its error has the line where the enclosing construct
// begins, which may be far above. In that case the line that was read last is more useful.
func (s *Stream) yamlError(err error, lines int) error {
	line, message := max(lines, 1), err.Error()
	if m := yamlMessage.FindStringSubmatch(message); m != nil {
		message = m[2]
		n, err := strconv.Atoi(m[1])
		if err == nil && !strings.HasPrefix(message, "did not find expected") {
			line = n
		}
	}
	return s.errorf(line, "%s", message)
}

// tree converts the nodes of one document to values.
type tree struct {
	stream *Stream
	base   int
	known  map[*yaml.Node]*value // a node that is being converted has a nil value
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
	switch n.Kind {
	case yaml.MappingNode:
		v.kind = '{'
		if err := t.mapping(v, n); err != nil {
			return nil, err
		}
	case yaml.SequenceNode:
		v.kind = '['
		for _, c := range n.Content {
			item, err := t.value(c)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
	default:
		v.kind, v.text = scalarKind(n), n.Value
	}
	t.known[n] = v
	return v, nil
}

// mapping adds the pairs of a mapping to v, and then those of its merge keys. A pair of the mapping
// takes precedence over a merged pair with the same key.
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
	names := make(map[string]bool, len(v.keys))
	for _, k := range v.keys {
		if k.scalar() {
			names[k.text] = true
		}
	}
	for _, m := range merged {
		if err := t.merge(v, names, m); err != nil {
			return err
		}
	}
	return nil
}

// merge adds the pairs of a merge key's value, which is a mapping or a sequence of mappings
// (https://yaml.org/type/merge.html). Pairs of v and of earlier mappings take precedence. names are
// the keys that v has so far.
func (t *tree) merge(v *value, names map[string]bool, n *yaml.Node) error {
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
			return t.stream.errorf(n.Line, "the value of a merge key is not a mapping")
		}
		if err := t.stream.addExpanded(n.Line, pairSize*len(b.keys)); err != nil {
			return err
		}
		for i, k := range b.keys {
			if k.scalar() && !names[k.text] {
				names[k.text] = true
				v.add(k, b.items[i])
			}
		}
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

// yamlSpan returns the bytes of a scalar, including its quotes. It only supports scalars without
// white space, such as references.
func (s *Stream) yamlSpan(n *yaml.Node) (span, error) {
	at := s.afterProperties(s.lines.offset(n.Line, n.Column))
	rest := s.data[at:]
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return quotedSpan(at, rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return quotedSpan(at, rest, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := bytes.IndexAny(rest, "\r\n") + 1
		text := bytes.Index(rest[header:], []byte(n.Value))
		if header == 0 || text < 0 || n.Value == "" {
			return span{}, errors.New("can't find the text in its block scalar")
		}
		start := at + header + text
		return span{start, start + len(n.Value)}, nil
	case bytes.HasPrefix(rest, []byte(n.Value)):
		return span{at, at + len(n.Value)}, nil
	}
	return span{}, fmt.Errorf("can't find the text %q at its position", n.Value)
}

// afterProperties returns the offset of a node's content, after its anchor, its tag, and the white
// space and comments that follow them.
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

// quotedSpan returns the span of the quoted text at the beginning of rest, whose offset is at. A
// byte after escape does not end the text. Single quotes escape themselves.
func quotedSpan(at int, rest []byte, quote, escape byte) (span, error) {
	if len(rest) == 0 || rest[0] != quote {
		return span{}, errors.New("can't find the opening quote")
	}
	for i := 1; i < len(rest); i++ {
		doubled := rest[i] == quote && i+1 < len(rest) && rest[i+1] == quote
		switch {
		case rest[i] == escape && (escape != quote || doubled):
			i++
		case rest[i] == quote:
			return span{at, at + i + 1}, nil
		}
	}
	return span{}, errors.New("can't find the closing quote")
}
