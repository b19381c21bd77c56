// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"strings"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/ref"
)

// Parser parses references and remembers the last 1,024: the images of a cluster come again and
// again, and the regular expressions of the grammar take a quarter of the time of an admission that
// needs no lookup. A nil Parser remembers nothing, and the zero value is ready. It is safe for
// concurrent use.
type Parser struct {
	known cache.Memory[string, ref.Reference]
}

// Parse returns what ref.Parse returns.
func (p *Parser) Parse(text string) (ref.Reference, error) {
	if p == nil || len(text) > ref.MaxLength {
		return ref.Parse(text)
	}
	if r, ok := p.known.Get(text); ok {
		return r, nil
	}
	r, err := ref.Parse(strings.Clone(text)) // text may be a part of a large one
	if err == nil {
		p.known.Put(r.String(), r, 0)
	}
	return r, err
}
