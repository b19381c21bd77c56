// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// screen prints the texts of the demo. It uses colours on a terminal.
type screen struct {
	out                        io.Writer
	red, green, bold, dim, end string
}

// newScreen returns a screen that writes to f. It does not use colours if the environment variable
// NO_COLOR is set (https://no-color.org).
func newScreen(f *os.File) *screen {
	s := &screen{out: f}
	info, err := f.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" {
		s.red, s.green, s.bold, s.dim, s.end = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	return s
}

func (s *screen) title(text string) { fmt.Fprintf(s.out, "\n%s%s%s\n\n", s.bold, text, s.end) }

func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%s%s%s\n", s.dim, fmt.Sprintf(format, args...), s.end)
}

func (s *screen) added(name, value string) {
	fmt.Fprintf(s.out, "  %s+ %s: %s%s\n", s.green, name, value, s.end)
}

// images prints each container's image before and after.
func (s *screen) images(before, after object) {
	was, is := imagesOf(before), imagesOf(after)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] == is[name] {
			fmt.Fprintf(s.out, "    %s: %s\n", name, is[name])
			continue
		}
		fmt.Fprintf(s.out, "  %s- %s: %s%s\n", s.red, name, was[name], s.end)
		fmt.Fprintf(s.out, "  %s+ %s: %s%s\n", s.green, name, is[name], s.end)
	}
}
