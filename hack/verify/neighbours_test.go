// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"
	"testing"
)

// neighbours is the folder of the tests of programs that run beside tagpin.
const neighbours = "e2e/neighbours"

// TestNeighbours checks that each module in e2e/neighbours/programs has results, that these are of
// the versions in its go.mod, and that the tests that they name exist.
func TestNeighbours(t *testing.T) {
	found, modules := findTests(t), 0
	for _, name := range files(t) {
		if ok, _ := path.Match(neighbours+"/programs/*/go.mod", name); !ok {
			continue
		}
		modules++
		folder := path.Join(neighbours, path.Base(path.Dir(name)))
		var results struct {
			Modules map[string]string
			Checks  []struct{ Test string }
		}
		if err := json.Unmarshal([]byte(read(t, folder+"/results.json")), &results); err != nil {
			t.Fatal(err)
		}
		mod := read(t, name)
		for module, version := range results.Modules {
			if got := required(mod, module); got != version {
				t.Errorf("%s has %s %s, and the results are of %s: run make test-neighbours",
					name, module, got, version)
			}
		}
		for _, c := range results.Checks {
			if !found.names[folder+" "+c.Test] {
				t.Errorf("%s has no test %s, which is in its results", folder, c.Test)
			}
		}
		if len(results.Modules) == 0 || len(results.Checks) == 0 {
			t.Errorf("the results in %s name no module or no test", folder)
		}
	}
	if modules == 0 {
		t.Errorf("%s/programs has no module", neighbours)
	}
}

// required returns the version of a module in a go.mod, or "". A replacement counts more than what
// is required.
func required(mod, module string) string {
	quoted := regexp.QuoteMeta(module)
	for _, before := range []string{
		`(?m)^(?:replace)?\s+` + quoted + ` (?:v\S+ )?=> \S+ `, `(?m)^(?:require)?\s+` + quoted + ` `,
	} {
		if m := regexp.MustCompile(before + `(v\S+)`).FindStringSubmatch(mod); m != nil {
			return m[1]
		}
	}
	return ""
}

func TestRequired(t *testing.T) {
	mod := strings.Join([]string{
		"require example.com/one v1.0.0", "require (", "\texample.com/two v2.0.0 // indirect",
		"\texample.com/three v3.0.0", "\texample.com/four/v4 v4.0.0", ")",
		"replace example.com/three => example.com/fork v3.1.0", "replace (",
		"\texample.com/four/v4 v4.0.0 => example.com/four/v4 v4.1.0", ")",
	}, "\n")
	for module, want := range map[string]string{
		"example.com/one": "v1.0.0", "example.com/two": "v2.0.0", "example.com/three": "v3.1.0",
		"example.com/four/v4": "v4.1.0", "example.com/four": "", "example.com/fork": "",
	} {
		if got := required(mod, module); got != want {
			t.Errorf("required(%s) = %q, want %q", module, got, want)
		}
	}
}
