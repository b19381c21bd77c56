// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
)

const (
	sbomType   = "application/vnd.cyclonedx+json"
	sbomSuffix = ".cdx.json"

	// rootsModule is where the CA certificates of our own base come from.
	rootsModule = "golang.org/x/crypto/x509roots/fallback"
	// sumProperty is go.sum's checksum of a module. It is no hash of a file, and so does not stand among the hashes.
	sumProperty = "tagpin:go.sum"
)

// newSBOM says what an image holds: what the linker wrote into the binaries of their modules and of Go, and the base.
func newSBOM(image v1.Hash, platform v1.Platform, binaries []binary, b base, src source) ([]byte, error) {
	l := &list{components: map[string]cdx.Component{}, needs: map[string][]string{}}
	self := cdx.Component{
		BOMRef: image.String(), Type: cdx.ComponentTypeContainer, Name: title, Version: src.version, Description: description,
		PackageURL: "pkg:oci/" + title + "@" + url.QueryEscape(image.String()) + "?arch=" + platform.Architecture,
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: license}}},
	}
	for _, bin := range binaries {
		if err := l.addBinary(self.BOMRef, bin, src); err != nil {
			return nil, fmt.Errorf("%s: %w", bin.name, err)
		}
	}
	if err := l.addBase(self.BOMRef, b); err != nil {
		return nil, err
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: day(src.created), Component: &self,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "hack/image", Version: src.version}}},
	}
	l.fill(bom)
	unnamed, err := encode(bom)
	if err != nil {
		return nil, err
	}
	// A document's number is to be its own; here equal documents have equal ones.
	bom.SerialNumber = uuid.NewHash(sha256.New(), uuid.Nil, unnamed, 8).URN()
	return encode(bom)
}

func encode(bom *cdx.BOM) ([]byte, error) {
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	return b.Bytes(), err
}

// list is an SBOM in the making: components by their reference, and what each one is made of.
type list struct {
	components map[string]cdx.Component
	needs      map[string][]string
}

func (l *list) add(parent string, c cdx.Component) {
	l.components[c.BOMRef] = c
	l.needs[parent] = append(l.needs[parent], c.BOMRef)
}

func (l *list) addBinary(parent string, b binary, src source) error {
	info, err := buildinfo.Read(bytes.NewReader(b.content))
	if err != nil {
		return err
	}
	self := cdx.Component{
		BOMRef: "/" + binDir + b.name, Type: cdx.ComponentTypeApplication, Name: "/" + binDir + b.name, Version: src.version,
		PackageURL: purl(info.Main.Path, src.version) + "#cmd/" + b.name,
		Hashes:     &[]cdx.Hash{sha256Of(b.content)},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: license}}},
	}
	l.add(parent, self)
	// Scanners know Go's own packages as the module std.
	l.add(self.BOMRef, module(&debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}))
	for _, m := range info.Deps {
		l.add(self.BOMRef, module(m))
	}
	return nil
}

// addBase adds the base: the image by its digest, or of our own the certificates, which are all that others made.
func (l *list) addBase(parent string, b base) error {
	if b.ref != nil {
		l.add(parent, cdx.Component{
			BOMRef: b.ref.String(), Type: cdx.ComponentTypeContainer, Name: b.ref.Context().Name(), Version: b.ref.DigestStr(),
		})
		return nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("this program does not know its modules")
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == rootsModule })
	if i < 0 {
		return fmt.Errorf("this program is linked without %s", rootsModule)
	}
	file := cdx.Component{
		BOMRef: "/" + certificates, Type: cdx.ComponentTypeFile, Name: "/" + certificates, Hashes: &[]cdx.Hash{sha256Of(roots())},
	}
	l.add(parent, file)
	l.add(file.BOMRef, module(info.Deps[i]))
	return nil
}

// fill gives the document all of them, sorted.
func (l *list) fill(bom *cdx.BOM) {
	components := slices.SortedFunc(maps.Values(l.components), func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &components
	var dependencies []cdx.Dependency
	for _, ref := range slices.Sorted(maps.Keys(l.needs)) {
		of := slices.Sorted(slices.Values(l.needs[ref]))
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &of})
	}
	bom.Dependencies = &dependencies
}

func module(m *debug.Module) cdx.Component {
	if m.Replace != nil {
		m = m.Replace
	}
	ref := purl(m.Path, m.Version)
	c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: ref}
	if m.Sum != "" {
		c.Properties = &[]cdx.Property{{Name: sumProperty, Value: m.Sum}}
	}
	return c
}

// purl is the name that vulnerability databases know a module by: https://github.com/package-url/purl-spec.
func purl(path, version string) string { return "pkg:golang/" + path + "@" + url.QueryEscape(version) }

func sha256Of(content []byte) cdx.Hash {
	sum := sha256.Sum256(content)
	return cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}
}
