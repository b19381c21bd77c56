// SPDX-License-Identifier: Apache-2.0

package failure

import (
	"errors"
	"fmt"
	"strings"
)

// Split returns the errors that err joins, as errors.Join does, so that each can be printed on a
// line of its own. If err adds text before the joined errors, each of them begins with that text:
// the errors a and b, wrapped as "f.yaml: %w", become "f.yaml: a" and "f.yaml: b". Any other error
// is returned alone. It returns nil for nil.
func Split(err error) []error {
	if err == nil {
		return nil
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		parts := joined(inner)
		if parts == nil {
			continue
		}
		before, ok := strings.CutSuffix(err.Error(), inner.Error())
		if !ok {
			break
		}
		var all []error
		for _, part := range parts {
			for _, e := range Split(part) {
				if before != "" {
					e = fmt.Errorf("%s%w", before, e)
				}
				all = append(all, e)
			}
		}
		return all
	}
	return []error{err}
}

// joined returns the errors that err has if its text is their texts, each on a line. Other errors
// with several causes have a text of their own.
func joined(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	parts := several.Unwrap()
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Error()
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return parts
}
