// SPDX-License-Identifier: Apache-2.0

package page

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/page"
)

// screens is the folder of the screenshots, which people look at.
const screens = "../../bin/page"

// chromium returns the path of Chromium.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: install it (apt-get install chromium), or set CHROMIUM to its path")
	return ""
}

// browser is a tab of Chromium that records requests and complaints.
type browser struct {
	context.Context
	t *testing.T

	mu         sync.Mutex
	requests   []string
	complaints []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{t: t}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := chromedp.WithAllocatorOptions(chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(b.record), options)
	t.Cleanup(cancel)
	b.Context = ctx
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	return b
}

// call runs a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// get runs an action that has a result.
func get[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	result, err := chromedp.Run(b, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// record records an event of the tab.
func (b *browser) record(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprint(e.Type, " ", e.Args))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, e.Entry.Text)
	}
}

// run runs actions.
func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// texts returns the text of each shown element that a selector finds.
func (b *browser) texts(selector string) []string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[[]string](fmt.Sprintf(`[...document.querySelectorAll(%q)]`+
		`.filter(e => e.checkVisibility()).map(e => e.innerText.trim())`, selector)))
}

// number returns the value of an expression.
func (b *browser) number(expr string) float64 {
	b.t.Helper()
	return get(b, chromedp.Evaluate[float64](expr))
}

// choose chooses an option of the list by which a phone sorts.
func (b *browser) choose(column string) {
	b.t.Helper()
	get(b, chromedp.Evaluate[bool](fmt.Sprintf(`(() => { const list = document.getElementById("sort"); `+
		`list.value = %q; return list.dispatchEvent(new Event("change")); })()`, column)))
}

// save saves a screenshot of the whole page.
func (b *browser) save(name string) {
	b.t.Helper()
	picture := get(b, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(screens, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screens, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// clean checks that the tab has sent nothing but the request for the page, and has complained of
// nothing, such as a violation of the content security policy.
func (b *browser) clean(address string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if url != address && !strings.HasSuffix(url, "/favicon.ico") {
			b.t.Errorf("the page has requested %s", url)
		}
	}
	for _, complaint := range b.complaints {
		if !strings.Contains(complaint, "favicon") && !strings.Contains(complaint, "404") {
			b.t.Errorf("the browser says: %s", complaint)
		}
	}
}

// report returns a report with all states, long names, and a text that is hostile.
func report() *audit.Report {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	find := func(
		namespace, kind, name, container, image string, count int, details string,
		states ...audit.State,
	) audit.Finding {
		f := audit.Finding{
			Namespace: namespace, Workload: audit.Workload{Kind: kind, Name: name}, Container: container,
			Type: audit.TypeContainer, Image: image, Count: count, States: states,
		}
		if details != "" {
			f.Details = []string{details}
		}
		return f
	}
	r := &audit.Report{
		Time: time.Date(2026, 11, 29, 15, 4, 0, 0, time.UTC), Cluster: "blue-eu-central-1",
		Problems: []string{"listing pods in the namespace legacy is forbidden; grant the verb list on pods"},
		Summary: audit.Summary{
			Namespaces: 4, Workloads: 8, Pods: 41, Containers: 49, Images: 9,
			States: map[audit.State]int{
				audit.Gone: 3, audit.Drifted: 2, audit.Unknown: 2, audit.Unpinned: 15, audit.Exempt: 1,
				audit.Pinned: 33,
			},
		},
		Containers: []audit.Finding{
			find("shop", "Deployment", "web", "web", "ghcr.io/shop/storefront:4.12.0@"+digest("a"), 3, "the registry no longer has the digest: ghcr.io: 404 Not Found", audit.Gone, audit.Pinned),
			find("data", "CronJob", "nightly-report", "report", "registry.internal:5000/data/report:latest", 1, "", audit.Drifted, audit.Unpinned),
			find("shop", "Rollout", "checkout-with-a-rather-long-name-as-generated-by-some-operator", "checkout", "ghcr.io/shop/checkout:2", 1, "", audit.Drifted, audit.Unpinned),
			find("kube-system", "DaemonSet", "cni", "cni", "localhost/cni:dev", 2, "the node does not know the image by a registry's digest, as if it was built or loaded there", audit.Unknown, audit.Unpinned),
			find("shop", "StatefulSet", "db", "postgres", "postgres:18", 10, "", audit.Unpinned),
			find("shop", "Pod", "debug", "x", `<img src=x onerror=alert(1)>`, 1, `invalid image reference "<script>alert(1)</script>"`, audit.Unknown, audit.Unpinned),
			find("istio", "Deployment", "gateway", "istio-proxy", "auto", 1, "", audit.Exempt),
			find("istio", "Deployment", "istiod", "discovery", "docker.io/istio/pilot:1.30@"+digest("d"), 30, "", audit.Pinned),
		},
		Namespaces: []audit.Namespace{
			{Name: "data", States: map[audit.State]int{audit.Drifted: 1, audit.Unpinned: 1}},
			{Name: "istio", States: map[audit.State]int{audit.Exempt: 1, audit.Pinned: 30}},
			{Name: "kube-system", States: map[audit.State]int{audit.Unknown: 2, audit.Unpinned: 2}},
			{Name: "shop", States: map[audit.State]int{audit.Gone: 3, audit.Drifted: 1, audit.Unknown: 1, audit.Unpinned: 12, audit.Pinned: 3}},
		},
	}
	r.Containers[1].RunningDigest, r.Containers[4].Type = "sha256:"+"e0e1e2e3e4e5"+"", audit.TypeInit
	return r
}

// serve serves the page with its policy in the header too, as tagpin audit --listen does.
func serve(t *testing.T, r *audit.Report) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/" {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Security-Policy", page.Policy())
		if err := page.Write(w, r); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// TestPage looks at the page on three screens, sorts, filters, and checks that nothing is cut off
// and nothing is requested.
func TestPage(t *testing.T) {
	url := serve(t, report())
	for _, screen := range []struct {
		name          string
		width, height int64
		dark          bool
	}{
		{"phone", 360, 740, false}, {"desk", 1280, 800, false}, {"dark", 1280, 800, true}, {"phone-dark", 412, 915, true},
	} {
		t.Run(screen.name, func(t *testing.T) {
			b := newBrowser(t)
			scheme := "light"
			if screen.dark {
				scheme = "dark"
			}
			narrow := screen.width < 720
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			b.run(chromedp.EmulateViewport(screen.width, screen.height))
			b.run(chromedp.Navigate(url))
			b.run(chromedp.WaitVisible(chromedp.CSS("#containers")))
			b.save(screen.name)
			if wide := b.number("document.documentElement.scrollWidth"); wide > float64(screen.width) {
				t.Errorf("the page is %v wide, want at most %d", wide, screen.width)
			}
			if n := b.number(`document.querySelectorAll("#containers img, #containers script").length`); n != 0 {
				t.Errorf("%v elements come from the texts of the report", n)
			}
			b.sorts(narrow)
			b.filters()
			b.clean(url)
		})
	}
}

// sorts sorts the containers: by the buttons of the head or, on a phone, by the list.
func (b *browser) sorts(narrow bool) {
	t := b.t
	t.Helper()
	const names = `#containers td[data-label="Namespace"]`
	first := func() string {
		return strings.TrimPrefix(b.texts(names)[0], "Namespace: ")
	}
	if got := first(); got != "shop" {
		t.Errorf("the first row is of %s, want shop, which is the worst", got)
	}
	if narrow {
		b.choose("1")
	} else {
		b.run(chromedp.Click(chromedp.CSS(`#containers th:nth-child(2) button`)))
	}
	if got := first(); got != "data" {
		t.Errorf("by namespace, the first row is of %s, want data", got)
	}
	if narrow {
		b.choose("5")
	} else {
		b.run(chromedp.Click(chromedp.CSS(`#containers th:nth-child(6) button`)), chromedp.Click(chromedp.CSS(`#containers th:nth-child(6) button`)))
	}
	if got := b.texts(`#containers td[data-label="Count"]`)[0]; strings.TrimPrefix(got, "Count: ") != "30" {
		t.Errorf("by number, the first row has %s, want 30", got)
	}
	b.run(chromedp.Click(chromedp.CSS(`#namespaces th:nth-child(2) button`)), chromedp.Click(chromedp.CSS(`#namespaces th:nth-child(2) button`)))
	if got := b.texts("#namespaces tbody td")[0]; got != "shop" {
		t.Errorf("by gone, the first namespace is %s, want shop", got)
	}
}

// filters filters the containers by a state and by a text.
func (b *browser) filters() {
	t := b.t
	t.Helper()
	b.run(chromedp.Click(chromedp.CSS(`.card.drifted`)))
	if got := len(b.texts(`#containers td[data-label="Namespace"]`)); got != 2 {
		t.Errorf("%d rows are drifted, want 2", got)
	}
	b.run(chromedp.SendKeys(chromedp.CSS("#filter"), "ROLLOUT"))
	if got := b.texts(`#containers td[data-label="Workload"]`); len(got) != 1 || !strings.Contains(got[0], "Rollout/checkout") {
		t.Errorf("the rows of the filter are %q, want that of the Rollout", got)
	}
	if got := b.texts("#shown"); got[0] != "1 of 8 rows" {
		t.Errorf("the page says %q, want 1 of 8 rows", got)
	}
	b.save("filtered-" + strings.NewReplacer("/", "-").Replace(t.Name()))
}

// TestFile opens the page from a file, without a server, and without scripts.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := page.Write(f, report()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	off := emulation.SetScriptExecutionDisabledParams{Value: true}
	call(b, emulation.SetScriptExecutionDisabled, off)
	b.run(chromedp.Navigate("file://" + path))
	title := get(b, chromedp.Title())
	if want := "3 gone – tagpin audit of blue-eu-central-1"; title != want {
		t.Errorf("the title is %q, want %q", title, want)
	}
	b.clean("file://" + path)
}

// TestLargePage checks that a page of 10,000 rows can still be sorted and filtered.
func TestLargePage(t *testing.T) {
	r := report()
	for i := range 10_000 {
		f := r.Containers[i%8]
		f.Workload.Name = fmt.Sprint("w-", i)
		r.Containers = append(r.Containers, f)
	}
	b := newBrowser(t)
	url := serve(t, r)
	b.run(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#containers")),
		chromedp.Click(chromedp.CSS(`#containers th:nth-child(3) button`)), chromedp.SendKeys(chromedp.CSS("#filter"), "w-9999"))
	if got := b.texts("#shown"); got[0] != "1 of 10008 rows" {
		t.Errorf("the page says %q, want 1 of 10008 rows", got)
	}
	b.clean(url)
}
