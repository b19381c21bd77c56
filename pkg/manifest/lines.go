// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// lineIndex converts between byte offsets of a file and its lines and columns.
//
// A line ends with LF, CR, CR LF, NEL, LS or PS, because the YAML parser counts lines by the rules
// of YAML 1.1 (https://yaml.org/spec/1.1/#id863284). A byte order mark has no column.
//
// Besides the beginning of each line, the index has positions within long lines. Conversions are
// fast even if the whole file is one line, as JSON from an API server is.
type lineIndex struct {
	data  []byte
	marks []mark // in ascending order; the first is the beginning of the file
}

// mark is an offset whose line and column are known. Both start at 1.
type mark struct{ offset, line, column int }

// stride is the maximum number of characters between two marks.
const stride = 256

func newLineIndex(data []byte) lineIndex {
	at := mark{0, 1, 1}
	if bytes.HasPrefix(data, bom) {
		at.offset = len(bom)
	}
	l := lineIndex{data: data, marks: []mark{at}}
	for at.offset < len(data) {
		size, end := character(data[at.offset:])
		at.offset += size
		at.column++
		if end {
			at.line, at.column = at.line+1, 1
		}
		if at.column%stride == 1 {
			l.marks = append(l.marks, at)
		}
	}
	return l
}

// character returns the size in bytes of the first character of text and whether it ends a line. CR
// LF counts as one character.
func character(text []byte) (size int, end bool) {
	r, size := rune(text[0]), 1
	if r >= utf8.RuneSelf {
		r, size = utf8.DecodeRune(text)
	}
	switch r {
	case '\r':
		if len(text) > 1 && text[1] == '\n' {
			size++
		}
		return size, true
	case '\n', '\u0085', '\u2028', '\u2029':
		return size, true
	}
	return size, false
}

// lastBefore returns the last mark for which after returns false, or the first mark if after
// returns true for all of them.
func (l lineIndex) lastBefore(after func(m mark) bool) mark {
	i := sort.Search(len(l.marks), func(i int) bool { return after(l.marks[i]) })
	return l.marks[max(i-1, 0)]
}

// offset returns the offset of a line and a column, where a column is a character. If the position
// is beyond the end of the file, offset returns the length of the file.
func (l lineIndex) offset(line, column int) int {
	m := l.lastBefore(func(m mark) bool {
		return m.line > line || m.line == line && m.column > max(column, 1)
	})
	if m.line != line {
		return len(l.data)
	}
	at := m.offset
	for ; column > m.column && at < len(l.data); column-- {
		_, size := utf8.DecodeRune(l.data[at:])
		at += size
	}
	return at
}

// position returns the line and the column of an offset.
func (l lineIndex) position(offset int) (line, column int) {
	m := l.lastBefore(func(m mark) bool { return m.offset > offset })
	text := l.data[m.offset:max(m.offset, min(offset, len(l.data)))]
	return m.line, m.column + utf8.RuneCount(text)
}
