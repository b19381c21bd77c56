// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of the page again; read the diff")

const (
	pageFile = "../../deploy/docs/troubleshooting.md"
	// tableHead is the head of the table, which ends at an empty line.
	tableHead = "| cause | the tenant reads | the log says | class | what to do |\n|---|---|---|---|---|\n"
)

// TestTrail plays each cause, and follows it from the denial to the cause.
func TestTrail(t *testing.T) {
	p := start(t)
	var table strings.Builder
	for _, c := range causes() {
		t.Run(c.name, func(t *testing.T) { table.WriteString(c.follow(t, p)) })
	}
	if strings.Contains(p.Log(), canary) {
		t.Error("the log has a password, or the answer of a registry")
	}
	checkPage(t, table.String())
}

// follow plays a cause, and returns the row of the page.
func (c *cause) follow(t *testing.T, p *tagpin) string {
	t.Helper()
	host := c.registry(t, p.ca)
	p.api.host.Store(host)
	image, uid := host+"/web:1", strings.ReplaceAll(c.name, " ", "-")
	before := p.lookups(t, c.class)
	denial := p.deny(t, uid, image, c.pullSecret)
	if want := fmt.Sprintf(`container "web": can't pin %s: %s: `, image, host); !strings.HasPrefix(denial, want) || strings.Count(denial, "; ") == 0 {
		t.Errorf("denial = %s, want %s, and what to do", denial, want)
	}
	l := p.logged(t, uid)
	if l.Namespace != namespace || l.Image != image || l.Registry != host || l.Class != c.class || !strings.HasPrefix(l.Cause, host+": "+c.log) {
		t.Errorf("the log has %+v, want the class %s and the cause %s", l, c.class, c.log)
	}
	if got := p.lookups(t, c.class); got != before+1 {
		t.Errorf("%v lookups of class %s are counted, want %v", got, c.class, before+1)
	}
	again := p.reproduce(t, image, c.pullSecret)
	if want := image + ": " + c.class + ": " + l.Cause + "\n"; plain(again, host) != plain(want, host) {
		t.Errorf("the command of the runbook prints\n%swant\n%s", again, want)
	}
	for what, text := range map[string]string{"denial": denial, "command": again} {
		if strings.Contains(text, canary) {
			t.Errorf("the %s has a password, or the answer of a registry: %s", what, text)
		}
	}
	return fmt.Sprintf("| %s | %s | %s | `%s` | %s |\n",
		c.name, code(plain(denial, host)), code(plain(l.Cause, host)), c.class, c.do)
}

// lookups returns the number of lookups that the metric has in a class.
func (p *tagpin) lookups(t *testing.T, class string) (n int) {
	t.Helper()
	text, err := p.get(t.Context(), p.metrics)
	if err != nil {
		t.Fatal(err)
	}
	series := fmt.Sprintf(`tagpin_resolve_lookups_total{registry="other",result=%q,source="registry"} `, class)
	_, rest, ok := strings.Cut(text, "\n"+series)
	if _, err := fmt.Sscan(rest, &n); err != nil || !ok {
		t.Errorf("the metrics lack %s", series)
	}
	return n
}

// code returns a text as code in a table.
func code(text string) string { return "`" + strings.ReplaceAll(text, "|", `\|`) + "`" }

var (
	loopback = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	// A machine without a network, or with another resolver, gives another answer about a name.
	lookup = regexp.MustCompile(`(DNS knows no such host|its name can't be looked up in DNS) \((dial tcp: )?lookup [^)]*\)`)
	issuer = regexp.MustCompile(`it is issued by [^)]*\)`)
	realm  = regexp.MustCompile(`host or port, 127\.0\.0\.1:\d+`)
)

// plain returns a text without what differs from run to run.
func plain(text, host string) string {
	text = lookup.ReplaceAllString(text,
		"DNS knows no such host (dial tcp: lookup registry.shop.invalid. on 10.96.0.10:53: no such host)")
	text = realm.ReplaceAllString(text, "host or port, registry.example:8443")
	text = issuer.ReplaceAllString(text, "it is issued by CN=Company CA)")
	if loopback.MatchString(host) {
		text = strings.ReplaceAll(text, "dial tcp "+host, "dial tcp 192.0.2.7:443")
		text = strings.ReplaceAll(text, host+"/", "registry.example/")
		text = strings.ReplaceAll(text, host+": ", "registry.example: ")
	}
	return text
}

// checkPage compares the table of the page, or writes it, unless only some causes were played.
func checkPage(t *testing.T, table string) {
	t.Helper()
	data, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	intro, rest, found := strings.Cut(string(data), tableHead)
	before, end, _ := strings.Cut(rest, "\n\n")
	switch {
	case !found:
		t.Fatalf("%s has no table with the head\n%s", pageFile, tableHead)
	case strings.Count(table, "\n") < len(causes()), t.Failed():
	case *update:
		text := intro + tableHead + table + "\n" + end
		if err := os.WriteFile(pageFile, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	case before+"\n" != table:
		t.Errorf("%s has another table. If this one is right, run this test with -update\n%s", pageFile, table)
	}
}
