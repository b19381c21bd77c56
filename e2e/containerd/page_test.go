// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

var update = flag.Bool("update", false, "write the table of the page again; read the diff")

const (
	pageFile = "../../pkg/registry/containerd.md"
	// tableHead is the head of the table, which is the end of the page.
	tableHead = "| # | case | containerd | tagpin | why |\n|---|---|---|---|---|\n"
)

// row is what was seen of one case.
type row struct {
	name, containerd, tagpin string
	rule                     string // why tagpin does not find what containerd pulls
	broken                   bool   // tagpin does not find what containerd pulls
}

func (r row) String() string {
	number, name, _ := strings.Cut(r.name, " ")
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", number, name, r.containerd, r.tagpin, r.rule)
}

// page is the document with the results.
type page struct {
	intro, table string

	mu   sync.Mutex
	seen map[string]row
}

// readPage reads the page. The end of the test, when all cases were seen, compares the whole table
// or writes it.
func readPage(t *testing.T) *page {
	t.Helper()
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	intro, table, _ := strings.Cut(string(text), tableHead)
	p := &page{intro: intro, table: table, seen: map[string]row{}}
	t.Cleanup(func() { p.finish(t) })
	return p
}

// check checks the row of one case.
func (p *page) check(t *testing.T, r row) {
	t.Helper()
	p.mu.Lock()
	p.seen[r.name] = r
	p.mu.Unlock()
	switch {
	case r.broken && r.rule == "":
		t.Errorf("containerd pulls the image, but tagpin: %s; correct tagpin, or add the rule that explains it to rules", r.tagpin)
	case !r.broken && r.rule != "":
		t.Error("rules explains a difference that is not there")
	}
	if !*update && !strings.Contains("\n"+p.table, "\n"+r.String()) {
		t.Errorf("%s has no row\n%sIf the row is right, run this test with -update", pageFile, r)
	}
}

// finish compares the whole table, or writes it, unless only some cases were run.
func (p *page) finish(t *testing.T) {
	var table strings.Builder
	for _, c := range registrytest.Cases() {
		r, ok := p.seen[c.Name]
		if !ok {
			return
		}
		table.WriteString(r.String())
	}
	if *update {
		err := os.WriteFile(pageFile, []byte(p.intro+tableHead+table.String()), 0o644)
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !t.Failed() && table.String() != p.table {
		t.Errorf("the rows of %s have another order, or are too many; run this test with -update", pageFile)
	}
}
