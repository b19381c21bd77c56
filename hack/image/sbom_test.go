// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// testSBOM compares an SBOM with what go version -m says of the binaries, and holds it against CycloneDX's schema.
func (b built) testSBOM(t *testing.T, img v1.Image, arch string) {
	text, err := os.ReadFile(b.dir + ".linux-" + arch + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	testSchema(t, text)
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got := bom.Metadata.Component.BOMRef; got != digest.String() {
		t.Errorf("SBOM of %s, want %s", got, digest)
	}
	components, needs := map[string]cdx.Component{}, map[string]string{}
	for _, c := range *bom.Components {
		components[c.BOMRef] = c
	}
	for _, d := range *bom.Dependencies {
		needs[d.Ref] = strings.Join(*d.Dependencies, " ") + " "
	}
	each(t, img, func(h *tar.Header, content []byte) {
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(h.Name, "etc/") && h.Name != certificates {
			return // our own
		}
		c := components["/"+h.Name]
		if c.Hashes == nil || (*c.Hashes)[0] != sha256Of(content) {
			t.Errorf("%s: hashes = %v, want %v", h.Name, c.Hashes, sha256Of(content))
		}
		if h.Name == certificates {
			if want := purl(rootsModule, ""); !strings.HasPrefix(needs["/"+h.Name], want) {
				t.Errorf("%s is of %s, want %s…", h.Name, needs["/"+h.Name], want)
			}
			return
		}
		for ref, sum := range modules(t, content) {
			m := components[ref]
			if m.Properties == nil && sum != "" || sum != "" && (*m.Properties)[0].Value != sum {
				t.Errorf("%s: %s has not the sum %s: %v", h.Name, ref, sum, m)
			}
			if !strings.Contains(needs["/"+h.Name], ref+" ") {
				t.Errorf("%s does not name %s", h.Name, ref)
			}
		}
	})
}

// modules are what go version -m prints of a binary: purls and their sums, which Go itself has not.
func modules(t *testing.T, content []byte) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch words[0] {
		case file + ":":
			found["pkg:golang/std@"+strings.TrimPrefix(words[1], "go")] = ""
		case "dep":
			found["pkg:golang/"+words[1]+"@"+strings.ReplaceAll(words[2], "+", "%2B")] = words[3]
		}
	}
	if len(found) < 10 {
		t.Errorf("modules = %d, want more", len(found))
	}
	return found
}

// testSchema validates by the schema that CycloneDX' library brings with it.
func testSchema(t *testing.T, text []byte) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "-C", here, "list", "-m", "-f={{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	const base = "http://cyclonedx.org/schema/"
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		opened, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := jsonschema.UnmarshalJSON(opened)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(base+name, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(base + "bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	document.(map[string]any)["serialNumber"] = "1"
	if schema.Validate(document) == nil {
		t.Error("the schema takes any serial number: it was not read")
	}
}
