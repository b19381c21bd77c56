// SPDX-License-Identifier: Apache-2.0

// Package reload reads files again when they change.
//
//	authorities := &reload.Files[*x509.CertPool]{Paths: []string{"ca.crt"}, Parse: parsePool}
//	if _, err := authorities.Look(); err != nil {
//		return err
//	}
//	pool := authorities.Current() // looks at the file now and then
//
// A caller that has to act on a change calls Poll. The package polls: a node may have no inotify
// instances left, and a mounted Secret or ConfigMap takes up to a minute to change anyway. It
// compares contents, since a mounted file may change while its size and time stay the same.
package reload

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/reminder"
)

// maxSize bounds a file: the API server accepts no larger Secret or ConfigMap.
const maxSize = 1 << 20

// defaultInterval is the default of Files.Interval.
const defaultInterval = 10 * time.Second

// Files is a value that is made of one or more files, and made again when one of them changes. If
// the files can't be read or parsed, the last good value stays. The exported fields must not
// change after the first call. It is safe for concurrent use.
type Files[T any] struct {
	// Paths are the paths of the files. Without any, the value does not change once it is parsed.
	Paths []string
	// Parse makes the value from the contents of Paths, in their order. It is called for each new
	// version of the files, and at each look again while it or Poll's accept refuses that. Its errors
	// have to name the files that they are about. Required.
	Parse func(contents [][]byte) (T, error)
	// Interval is the shortest time between two looks at the files. Default: 10s.
	Interval time.Duration
	// Report is called with the error of a look if the look before had another one or none, and
	// again now and then while it lasts (package reminder). Default: errors are dropped.
	Report func(error)

	mu       sync.Mutex
	value    T
	contents [][]byte // of the version that was parsed last
	looked   time.Time
	failure  reminder.Reminder // the error of the last look
}

// Look reads the files and returns the value. If they can't be read or parsed now, it returns the
// error together with the last good value. It does not call Report.
func (f *Files[T]) Look() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.refreshLocked(nil)
	return f.value, err
}

// Current returns the last good value, which is the zero value if there is none yet. It looks at
// the files if the last look is at least Interval ago.
func (f *Files[T]) Current() T { return f.get(false) }

// Fresh is Current with a look at the files in any case.
func (f *Files[T]) Fresh() T { return f.get(true) }

func (f *Files[T]) get(look bool) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if look || f.looked.IsZero() || time.Since(f.looked) >= f.interval() {
		if news, err := f.lookLocked(nil); news && err != nil && f.Report != nil {
			f.Report(err)
		}
	}
	return f.value
}

func (f *Files[T]) interval() time.Duration { return cmp.Or(max(f.Interval, 0), defaultInterval) }

// Poll looks at the files every Interval until ctx ends, and passes each new value to accept. If
// accept returns an error, the former value stays, and Poll tries the new one again at the next
// look. Poll calls report with each error that differs from the one before, again now and then
// while it lasts (package reminder), and with each value that comes into force, also if it is the
// former one because the files were put back. It does not call Report. While Poll runs, only Poll
// may look at the files.
func (f *Files[T]) Poll(ctx context.Context, accept func(T) error, report func(T, error)) {
	ticker := time.NewTicker(f.interval())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		f.mu.Lock()
		news, err := f.lookLocked(accept)
		value := f.value
		f.mu.Unlock()
		if news {
			report(value, err)
		}
	}
}

// lookLocked refreshes the value. news is true if the value is new, or the error is to be reported
// or is gone.
func (f *Files[T]) lookLocked(accept func(T) error) (news bool, err error) {
	changed, err := f.refreshLocked(accept)
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	due := f.failure.Due(failure)
	return changed || due, err
}

// refreshLocked reads the files. If they have changed, it parses them and keeps the value, unless
// accept refuses it. A nil accept refuses nothing.
func (f *Files[T]) refreshLocked(accept func(T) error) (changed bool, err error) {
	f.looked = time.Now()
	contents := make([][]byte, len(f.Paths))
	for i, path := range f.Paths {
		if contents[i], err = read(path); err != nil {
			return false, err
		}
	}
	if f.contents != nil && slices.EqualFunc(f.contents, contents, slices.Equal) {
		return false, nil
	}
	value, err := f.Parse(contents)
	if err != nil {
		return false, err
	}
	if accept != nil {
		if err := accept(value); err != nil {
			return false, err
		}
	}
	f.value, f.contents = value, contents
	return true, nil
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxSize)
	}
	return data, err
}
