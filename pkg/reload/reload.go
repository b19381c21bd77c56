// SPDX-License-Identifier: Apache-2.0

// Package reload reads files again when they change.
//
//	authorities := &reload.Files[*x509.CertPool]{Paths: []string{"ca.crt"}, Parse: parsePool}
//	if _, err := authorities.Look(); err != nil {
//		return err
//	}
//	pool := authorities.Current() // looks at the file now and then
//
// It polls: a node may have no inotify instances left, and a mounted Secret or ConfigMap takes up
// to a minute to change anyway. It compares contents, since a mounted file may change while its
// size and time stay the same.
package reload

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// MaxSize bounds a file: the API server accepts no larger Secret or ConfigMap.
const MaxSize = 1 << 20

// DefaultInterval is the default of Files.Interval.
const DefaultInterval = 10 * time.Second

// Files is a value that is made of one or more files, and made again when one of them changes. If
// the files can't be read or parsed, the last good value stays. The exported fields must not
// change after the first call. It is safe for concurrent use.
type Files[T any] struct {
	// Paths of the files. Required.
	Paths []string
	// Parse makes the value of the contents of Paths, in their order. It is called once for each
	// version of the files. Required.
	Parse func(contents [][]byte) (T, error)
	// Interval is the shortest time between two looks at the files. Default: DefaultInterval.
	Interval time.Duration
	// Report is called with the error of a look, unless the look before had the same one.
	// Default: errors are dropped.
	Report func(error)

	mu       sync.Mutex
	value    T
	contents [][]byte // of the version that was parsed last
	looked   time.Time
	reported string // the error of the last look
}

// Look reads the files and returns the value. If they can't be read or parsed now, it returns the
// error together with the last good value. It does not call Report.
func (f *Files[T]) Look() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.lookLocked()
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
	interval := f.Interval
	if interval <= 0 {
		interval = DefaultInterval
	}
	if look || f.looked.IsZero() || time.Since(f.looked) >= interval {
		f.reportLocked(f.lookLocked())
	}
	return f.value
}

func (f *Files[T]) reportLocked(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != f.reported && f.Report != nil {
		f.Report(err)
	}
	f.reported = text
}

func (f *Files[T]) lookLocked() error {
	f.looked = time.Now()
	contents := make([][]byte, len(f.Paths))
	for i, path := range f.Paths {
		var err error
		if contents[i], err = read(path); err != nil {
			return err
		}
	}
	if f.contents != nil && slices.EqualFunc(f.contents, contents, slices.Equal) {
		return nil
	}
	value, err := f.Parse(contents)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Paths[0], err)
	}
	f.value, f.contents = value, contents
	return nil
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err == nil && len(data) > MaxSize {
		err = fmt.Errorf("%s: larger than %d bytes", path, MaxSize)
	}
	return data, err
}
