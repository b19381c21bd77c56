// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"sort"
	"unicode/utf8"
)

// lines finds offsets of a file's lines. A line ends as YAML 1.1 says (https://yaml.org/spec/1.1/#id863284), since that
// is what the parser counts by: LF, CR, CR LF, NEL, LS or PS.
type lines struct {
	data   []byte
	starts []int
}

func newLines(data []byte) lines {
	l := lines{data: data, starts: []int{0}}
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		i += size
		switch r {
		case '\r':
			if i < len(data) && data[i] == '\n' {
				i++
			}
		case '\n', '\u0085', '\u2028', '\u2029':
		default:
			continue
		}
		l.starts = append(l.starts, i)
	}
	return l
}

// offset is where a column of a line is; both count from 1, and columns are characters. Beyond the end it is the end.
func (l lines) offset(line, column int) int {
	if line < 1 || line > len(l.starts) {
		return len(l.data)
	}
	at := l.starts[line-1]
	if line == 1 && len(l.data) >= len(bom) && string(l.data[:len(bom)]) == string(bom) {
		at += len(bom) // no column of its own
	}
	for ; column > 1 && at < len(l.data); column-- {
		_, size := utf8.DecodeRune(l.data[at:])
		at += size
	}
	return at
}

// position is the line and the column of an offset, both from 1.
func (l lines) position(offset int) (line, column int) {
	line = sort.SearchInts(l.starts, offset+1)
	text := l.data[l.starts[line-1]:min(offset, len(l.data))]
	return line, utf8.RuneCount(text) + 1
}
