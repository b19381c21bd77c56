// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// lines finds places in a file. A line ends as YAML 1.1 says (https://yaml.org/spec/1.1/#id863284), since that is what the
// parser counts by: LF, CR, CR LF, NEL, LS or PS. A byte order mark has no column. To find a place costs little in a file
// of one line too: an API server's JSON is one.
type lines struct {
	data  []byte
	marks []mark // in order; the first is the beginning
}

// mark is a place whose line and column, both from 1, are known: where a line begins, and every so many characters of it.
type mark struct{ offset, line, column int }

// stride is how many characters are from one mark to the next at most.
const stride = 1024

func newLines(data []byte) lines {
	at := mark{0, 1, 1}
	if bytes.HasPrefix(data, bom) {
		at.offset = len(bom)
	}
	l := lines{data: data, marks: []mark{at}}
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

// character is how many bytes the first character of text has, and whether it ends a line. CR LF is taken for one.
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

// last is the last mark that is not behind what is looked for; the first where all are.
func (l lines) last(behind func(m mark) bool) mark {
	i := sort.Search(len(l.marks), func(i int) bool { return behind(l.marks[i]) })
	return l.marks[max(i-1, 0)]
}

// offset is where a column of a line is; columns are characters. Beyond the end it is the end.
func (l lines) offset(line, column int) int {
	m := l.last(func(m mark) bool { return m.line > line || m.line == line && m.column > max(column, 1) })
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

// position is the line and the column of an offset.
func (l lines) position(offset int) (line, column int) {
	m := l.last(func(m mark) bool { return m.offset > offset })
	text := l.data[m.offset:max(m.offset, min(offset, len(l.data)))]
	return m.line, m.column + utf8.RuneCount(text)
}

// line is that of an offset.
func (l lines) line(offset int) int {
	return l.last(func(m mark) bool { return m.offset > offset }).line
}
