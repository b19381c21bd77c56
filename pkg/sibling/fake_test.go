// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/sibling"
)

// fakeLister lists the pods in json.
type fakeLister struct {
	mu       sync.Mutex
	json     []string
	err      error
	label    string        // the label that a list must have; "" for pod-template-hash
	all      bool          // a list must have no label
	pageSize int           // pods on a page; 0 for all
	delay    time.Duration // before each page
	lists    int           // first pages that were listed
	pages    int           // pages that were listed
}

func (p *fakeLister) List(
	ctx context.Context, r sibling.Revision, from string, pod func([]byte) error,
) (next string, err error) {
	p.mu.Lock()
	p.pages++
	if from == "" {
		p.lists++
	}
	list, size, delay, err := p.json, p.pageSize, p.delay, p.err
	label := cmp.Or(p.label, "pod-template-hash")
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	byLabel := r.Label == label && r.Value != ""
	if r.Namespace != "n" || p.all != (r.Label == "") || !p.all && !byLabel {
		return "", fmt.Errorf("unexpected revision %v", r)
	}
	begin := 0
	if from != "" {
		begin, _ = strconv.Atoi(from)
		list = list[begin:]
	}
	if size > 0 && len(list) > size {
		next, list = strconv.Itoa(begin+size), list[:size]
	}
	for _, j := range list {
		if err := pod([]byte(j)); err != nil {
			return "", err
		}
	}
	return next, err
}

func (p *fakeLister) set(json ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.json = json
}

// wantLists checks the number of lists since its last call.
func (p *fakeLister) wantLists(t *testing.T, when string, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lists != want {
		t.Errorf("%s: %d lists, want %d", when, p.lists, want)
	}
	p.lists = 0
}
