// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/tools"
)

// results is the content of results.json. hack/docs reads it too.
type results struct {
	Program    string            `json:"program"`
	Modules    map[string]string `json:"modules"` // versions by path
	Kubernetes string            `json:"kubernetes"`
	Date       string            `json:"date"`
	Checks     []Check           `json:"checks"`
}

// Check is a row of the page, in Markdown. It says what a test has shown.
type Check struct {
	Test     string `json:"test"`               // filled in by Record
	Done     string `json:"done"`               // what was done
	Result   string `json:"result"`             // what happened then
	Settings string `json:"settings,omitempty"` // what has to be set for that; if empty, nothing
}

// Record adds a row to the results, which are written if all tests pass. Call it first in a test,
// so that what is promised stands above the code that checks it. If the test fails, Record logs the
// ends of the programs' logs.
func (e *Env) Record(t *testing.T, c Check) {
	t.Helper()
	if c.Done == "" || c.Result == "" || strings.ContainsAny(c.Done+c.Result+c.Settings, "|\n") {
		t.Fatalf("a row needs Done and Result, without bars and line breaks: %+v", c)
	}
	c.Test, _, _ = strings.Cut(t.Name(), "/")
	e.results.Checks = append(e.results.Checks, c)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the ends of the logs:\n%s", e.Logs())
		}
	})
}

func (o Tests) newResults(ctx context.Context, e *Env, c *cluster.Cluster) (results, error) {
	r := results{Program: o.Program, Modules: map[string]string{}, Date: today()}
	for _, module := range o.Modules {
		version, err := e.version(ctx, module)
		if err != nil {
			return results{}, err
		}
		r.Modules[module] = version
	}
	version, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return results{}, err
	}
	r.Kubernetes = version.GitVersion
	return r, nil
}

// version returns the version of a module that the programs are built from.
func (e *Env) version(ctx context.Context, module string) (string, error) {
	var errs []error
	for _, n := range append([]tools.Neighbour{e.Neighbour}, e.Parts...) {
		_, version, err := n.Source(ctx, module)
		if err == nil {
			return version, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// write writes the results to a file.
func (r results) write(file string) error {
	if len(r.Checks) == 0 {
		return errors.New("no test has recorded a result")
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o644) //nolint:gosec // the file is not secret
}

// compare returns an error if the rows are not those in a file. Tests may run in any order, and
// more than once.
func (r results) compare(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var was results
	if err := json.Unmarshal(text, &was); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if !slices.Equal(distinct(r.Checks), distinct(was.Checks)) {
		return fmt.Errorf("%s has other rows than the tests have recorded: run make test-neighbours",
			file)
	}
	return nil
}

// distinct returns the different rows in an order of their own.
func distinct(rows []Check) []Check {
	return slices.Compact(slices.SortedFunc(slices.Values(rows), func(a, b Check) int {
		return cmp.Or(cmp.Compare(a.Test, b.Test), cmp.Compare(a.Done, b.Done),
			cmp.Compare(a.Result, b.Result), cmp.Compare(a.Settings, b.Settings))
	}))
}
