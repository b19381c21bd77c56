// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"slices"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxSize is the largest size of a file in a folder that is read, and of the files that are parsed
// at the same time: a tree of small nodes, such as [1,1,1], needs about a hundred times as much
// memory as its text. An API server accepts at most 3 MiB for an object, so a larger file usually
// has data for something else.
const maxSize = 16 << 20

// size returns the size of the file as far as it counts for maxSize.
func (s *source) size() int64 {
	size := int64(len(s.data))
	if info, err := os.Stat(s.path); err == nil { // otherwise it is stdin, or reading it reports that
		size = info.Size()
	}
	return min(size, maxSize)
}

// parse reads the file, unless it is stdin, and parses it for a command, such as tagpin pin. Of
// several names, the first one counts for which the file has anything that tagpin knows. The images
// that it has only by further names are in others. Names of the same class need only one look. A
// name of values comes first, because such a file may have anything else that tagpin knows too.
func (s *source) parse(
	ctx context.Context, command string, table *workload.Table,
) (err error) {
	if s.path != "" {
		s.data, err = await(ctx, func() ([]byte, error) { return os.ReadFile(s.path) })
		if err != nil {
			return err // the error has the path
		}
	}
	slices.SortStableFunc(s.names, valuesFirst)
	s.fileName = s.names[0]
	s.file, err = manifest.ParseAs(cmp.Or(s.path, "stdin"), s.as, s.data, table)
	known := []string{manifest.NameClass(s.as)}
	for _, name := range s.names[1:] {
		if class := manifest.NameClass(name.as); !slices.Contains(known, class) {
			known = append(known, class)
			err = s.parseOther(err, name, table)
		}
	}
	if err != nil {
		s.others = nil
	}
	if err != nil && s.named && bytes.Contains(s.data, []byte("{{")) {
		return hinted(err, "this file looks like a template; render it first: "+
			"`helm template … | "+command+"`")
	}
	return err
}

// valuesFirst compares names: those of a file with values come before the others.
func valuesFirst(a, b fileName) int {
	later := func(name fileName) int {
		if manifest.NameClass(name.as) == manifest.NameClass("values.yaml") {
			return 0
		}
		return 1
	}
	return cmp.Compare(later(a), later(b))
}

// parseOther parses the file by a further name. err is the error by the names before it. parseOther
// returns the error of the file. If the file may have images by one of its names, but can't be
// parsed by that name, this is the error, even if it is valid by the others.
func (s *source) parseOther(err error, name fileName, table *workload.Table) error {
	other, otherErr := manifest.ParseAs(name.path, name.as, s.data, table)
	known := err == nil && s.file.Recognized()
	switch {
	case mayHaveImages(err):
	case mayHaveImages(otherErr):
		return otherErr
	case otherErr != nil && !known:
		return cmp.Or(err, otherErr)
	case otherErr != nil, !other.Recognized():
	case known:
		s.addOther(name, other)
	default:
		s.fileName, s.file, err = name, other, nil
	}
	return err
}

// mayHaveImages reports whether an error is about a file that may have images.
func mayHaveImages(err error) bool {
	return errors.Is(err, manifest.ErrMayHaveImages) || errors.Is(err, manifest.ErrDuplicateKey)
}

// addOther adds what the file has by another name alone.
func (s *source) addOther(name fileName, other *manifest.File) {
	other = other.Without(s.file)
	for _, o := range s.others {
		other = other.Without(o.file)
	}
	if len(other.Objects)+len(other.Left)+len(other.Pinned) > 0 {
		s.others = append(s.others, &source{fileName: name, data: s.data, file: other})
	}
}
