// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/reminder"
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

// TestFiles checks that the last good value stays while the files can't be used, that each error is
// reported when it is new, and that unchanged files are not parsed again.
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
		{"too large", string(bytes.Repeat([]byte("x"), maxSize+1)), "c", "a c", 3, 4},
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
			t.Errorf("%s: parsed %d times, want %d; reports %q, want %d",
				step.name, parsed, step.parsed, reports, step.reports)
		}
	}
}

// TestInterval checks that Current doesn't read the files within the interval, and that Fresh does.
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

// TestPoll checks that Poll passes each new value to accept, tries a refused one again, reports
// each error once, and reports the value when the files are put back. The file is replaced as the
// kubelet replaces a file of a ConfigMap: it is a link into a link to a directory.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		version := 0
		write := func(text string) {
			version++
			to := filepath.Join(dir, fmt.Sprint("..version", version))
			err := errors.Join(
				os.Mkdir(to, 0o700),
				os.WriteFile(filepath.Join(to, "file"), []byte(text), 0o600),
				os.Symlink(to, filepath.Join(dir, "..new")),
				os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
			if err != nil {
				t.Fatal(err)
			}
		}
		write("first")
		if err := os.Symlink(filepath.Join("..data", "file"), path); err != nil {
			t.Fatal(err)
		}
		f := &Files[string]{Paths: []string{path}, Parse: join, Interval: time.Minute}
		if _, err := f.Look(); err != nil {
			t.Fatal(err)
		}
		var refusal error
		var reports []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.Poll(ctx, func(string) error { return refusal }, func(value string, err error) {
				reports = append(reports, fmt.Sprint(value, " ", err))
			})
		}()
		for _, step := range []struct {
			name, text string
			refusal    error
			want       []string
		}{
			{"unchanged", "first", nil, nil},
			{"changed", "second", nil, []string{"second <nil>"}},
			{"refused", "third", errors.New("no CA"), []string{"second no CA"}},
			{"refused again", "third", errors.New("no CA"), nil},
			{"refused otherwise", "third", errors.New("no key"), []string{"second no key"}},
			{"accepted later", "third", nil, []string{"third <nil>"}},
			{"malformed", "", nil, []string{"third empty"}},
			{"put back", "third", nil, []string{"third <nil>"}},
		} {
			refusal, reports = step.refusal, nil
			write(step.text)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if !slices.Equal(reports, step.want) {
				t.Errorf("%s: reports %q, want %q", step.name, reports, step.want)
			}
		}
		cancel()
		<-done
	})
}

// TestLastingErrors checks that an error that lasts is reported again after a while, by Poll and by
// Current.
func TestLastingErrors(t *testing.T) {
	const looks = int(3 * reminder.Interval / time.Minute)
	for name, look := range map[string]func(*Files[string]){
		"Current": func(f *Files[string]) {
			for range looks {
				f.Current()
				time.Sleep(time.Minute)
			}
		},
		"Poll": func(f *Files[string]) {
			end := time.Duration(looks)*time.Minute + time.Second
			ctx, cancel := context.WithTimeout(context.Background(), end)
			defer cancel()
			f.Poll(ctx, nil, func(_ string, err error) { f.Report(err) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reports := 0
				look(&Files[string]{
					Paths: []string{filepath.Join(t.TempDir(), "none")}, Parse: join, Interval: time.Minute,
					Report: func(err error) {
						if reports++; !errors.Is(err, os.ErrNotExist) {
							t.Errorf("reported %v, want %v", err, os.ErrNotExist)
						}
					},
				})
				if reports != 3 {
					t.Errorf("%d reports in %d looks, want 3", reports, looks)
				}
			})
		})
	}
}

// TestNoPaths checks that a value without files is parsed once, or again as long as Parse fails.
func TestNoPaths(t *testing.T) {
	fails := errors.New("not yet")
	parsed := 0
	f := &Files[string]{Parse: func(contents [][]byte) (string, error) {
		if parsed++; parsed == 1 {
			return "", fails
		}
		return fmt.Sprint(len(contents), " files"), nil
	}}
	if _, err := f.Look(); !errors.Is(err, fails) {
		t.Errorf("Look = %v, want %v", err, fails)
	}
	for range 2 {
		if got, err := f.Look(); got != "0 files" || err != nil || parsed != 2 {
			t.Errorf("Look = %q, %v, parsed %d times, want %q, parsed twice", got, err, parsed, "0 files")
		}
	}
}
