// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// join is a Parse that joins the contents. Contents that are empty are malformed.
func join(contents [][]byte) (string, error) {
	for _, c := range contents {
		if len(c) == 0 {
			return "", errors.New("empty")
		}
	}
	return string(bytes.Join(contents, []byte(" "))), nil
}

// The last good value stays while the files can't be used, each error is reported once, and files
// that have not changed are not parsed again.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	var reports []string
	parsed := 0
	f := &Files[string]{
		Paths: []string{one, two}, Interval: time.Nanosecond,
		Parse:  func(contents [][]byte) (string, error) { parsed++; return join(contents) },
		Report: func(err error) { reports = append(reports, err.Error()) },
	}
	if _, err := f.Look(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Look without files = %v, want %v", err, os.ErrNotExist)
	}
	when := time.Now()
	for _, step := range []struct {
		name, one, two  string // the contents; "-": no file
		want            string
		parsed, reports int
	}{
		{"missing", "a", "-", "", 0, 1},
		{"still missing", "a", "-", "", 0, 1},
		{"there", "a", "b", "a b", 1, 1},
		{"unchanged", "a", "b", "a b", 1, 1},
		{"changed, of the same size and time", "a", "c", "a c", 2, 1},
		{"malformed", "a", "", "a c", 3, 2},
		{"gone", "-", "-", "a c", 3, 3},
		{"as before", "a", "c", "a c", 3, 3},
		{"too large", string(bytes.Repeat([]byte("x"), MaxSize+1)), "c", "a c", 3, 4},
	} {
		for path, text := range map[string]string{one: step.one, two: step.two} {
			_ = os.Remove(path) // it may not be there
			if text == "-" {
				continue
			}
			err := os.WriteFile(path, []byte(text), 0o600)
			if err := errors.Join(err, os.Chtimes(path, when, when)); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.Current(); got != step.want {
			t.Errorf("%s: Current() = %q, want %q", step.name, got, step.want)
		}
		if parsed != step.parsed || len(reports) != step.reports {
			t.Errorf("%s: parsed %d times, want %d; reports %q, want %d", step.name, parsed, step.parsed, reports, step.reports)
		}
	}
}

// Within the interval the files are not read, unless that is asked for.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		f := &Files[string]{Paths: []string{path}, Parse: join, Interval: time.Minute}
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			wait time.Duration
			text string
			get  func() string
			want string
		}{
			{0, "first", f.Current, "first"},
			{59 * time.Second, "second", f.Current, "first"},
			{time.Second, "second", f.Current, "second"},
			{time.Second, "third", f.Current, "second"},
			{0, "third", f.Fresh, "third"},
		} {
			time.Sleep(step.wait)
			if write(step.text); step.get() != step.want {
				t.Errorf("with %q written, want %q", step.text, step.want)
			}
		}
	})
}
