// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/page"
)

// TestWrite checks that every text of a report is escaped, and that the policy allows nothing but
// the page's own style and script.
func TestWrite(t *testing.T) {
	const bad = `"'><script>alert(1)</script>{{.}}`
	r := &audit.Report{
		Time: time.Unix(0, 0), Cluster: bad, Problems: []string{bad},
		Summary:    audit.Summary{States: map[audit.State]int{audit.Gone: 7}},
		Namespaces: []audit.Namespace{{Name: bad}},
		Containers: []audit.Finding{{
			Namespace: bad, Workload: audit.Workload{Kind: bad, Name: bad}, Container: bad, Image: bad,
			RunningDigest: bad, States: []audit.State{audit.Gone}, Details: []string{bad},
		}},
	}
	var b strings.Builder
	if err := page.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	if strings.Contains(html, "<script>alert") || strings.Count(html, "<script>") != 1 || strings.Contains(html, `"'>`) {
		t.Errorf("a text is not escaped:\n%s", html)
	}
	if n := strings.Count(html, "alert(1)"); n < 8 {
		t.Errorf("the page has %d of the texts, want all", n)
	}
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-"} {
		if !strings.Contains(page.Policy(), want) {
			t.Errorf("Policy() = %s, want %s in it", page.Policy(), want)
		}
	}
	if strings.Contains(page.Policy(), "unsafe") || strings.Contains(html, "http://") || strings.Contains(html, "https://") {
		t.Error("the page allows inline code, or names a host")
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestWriteFails checks that a page that can't be written is an error.
func TestWriteFails(t *testing.T) {
	if err := page.Write(full{}, &audit.Report{}); err == nil {
		t.Error("Write to a full disk: no error")
	}
}
