// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// testSBOM compares an SBOM with the output of go version -m for the binaries, and validates it
// with the schema of CycloneDX.
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
	components, dependencies := map[string]cdx.Component{}, map[string][]string{}
	for _, c := range *bom.Components {
		components[c.BOMRef] = c
	}
	for _, d := range *bom.Dependencies {
		dependencies[d.Ref] = *d.Dependencies
	}
	eachFile(t, img, func(h *tar.Header, content []byte) {
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(h.Name, "etc/") && h.Name != certificates {
			return // the SBOM does not list the users and groups
		}
		c := components["/"+h.Name]
		if c.Hashes == nil || (*c.Hashes)[0] != sha256Of(content) {
			t.Errorf("%s: hashes = %v, want %v", h.Name, c.Hashes, sha256Of(content))
		}
		if h.Name == certificates {
			got, want := dependencies["/"+h.Name], purl(rootsModule, "")
			if len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s depends on %q, want a version of %s", h.Name, got, want)
			}
			return
		}
		for ref, sum := range modules(t, content) {
			m := components[ref]
			if sum != "" && (m.Properties == nil || (*m.Properties)[0].Value != sum) {
				t.Errorf("%s: module %s does not have the checksum %s: %v", h.Name, ref, sum, m)
			}
			if !slices.Contains(dependencies["/"+h.Name], ref) {
				t.Errorf("%s does not depend on %s", h.Name, ref)
			}
		}
	})
}

// modules returns the modules that go version -m prints for a binary. The key is the purl, and the
// value is the checksum, which is empty for Go itself.
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
		t.Errorf("go version -m lists %d modules, want at least 10", len(found))
	}
	return found
}

// testSchema validates an SBOM with the schema in the module of cyclonedx-go.
func testSchema(t *testing.T, text []byte) {
	t.Helper()
	const module = "github.com/CycloneDX/cyclonedx-go"
	list := exec.CommandContext(t.Context(), "go", "-C", here, "list", "-m", "-f={{.Dir}}", module)
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	const base = "http://cyclonedx.org/schema/"
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6.schema.json":  "bom-1.6.schema.json",
		"spdx.schema.json":     "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
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
		t.Error("the schema accepts an invalid serial number, so it was not loaded")
	}
}

// TestBinarySBOM writes the SBOM of a binary, and compares it with the output of go version -m. The
// binary is this test.
func TestBinarySBOM(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	output := filepath.Join(t.TempDir(), "sbom.json")
	mustRun(t, "--version", version, "--revision", "abc", "--sbom-of", self, "--output", output)
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	testSchema(t, text)
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	c := bom.Metadata.Component
	if c.Name != filepath.Base(self) || c.Version != version || (*c.Hashes)[0] != sha256Of(content) ||
		bom.Metadata.Timestamp != "1970-01-01T00:00:01Z" {
		t.Errorf("the SBOM is of %+v at %s", c, bom.Metadata.Timestamp)
	}
	want := modules(t, content)
	for _, c := range *bom.Components {
		delete(want, c.BOMRef)
	}
	if len(want) > 0 {
		t.Errorf("the SBOM lacks %v", want)
	}
	again := output + ".again"
	mustRun(t, "--version", version, "--revision", "abc", "--sbom-of", self, "--output", again)
	if second, err := os.ReadFile(again); err != nil || !bytes.Equal(second, text) {
		t.Errorf("one binary has two SBOMs (%v)", err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--version", version, "--sbom-of", output}, &stderr, &stderr); code != 1 {
		t.Errorf("the SBOM of a file that is no binary: run = %d, %s, want 1", code, &stderr)
	}
}
