// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
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

	// rootsModule is the module with the CA certificates in our own base.
	rootsModule = "golang.org/x/crypto/x509roots/fallback"
	// sumProperty is the property with a module's checksum in go.sum. It is not among the hashes of
	// the component, because those are hashes of a file.
	sumProperty = "tagpin:go.sum"
)

// newSBOM returns the SBOM of an image. It lists the binaries with the modules and the version of
// Go in their build info, and the base.
func newSBOM(
	image v1.Hash, platform v1.Platform, binaries []binary, b base, src source,
) ([]byte, error) {
	l := newList()
	version := url.QueryEscape(image.String())
	self := cdx.Component{
		BOMRef: image.String(), Type: cdx.ComponentTypeContainer,
		Name: title, Version: src.version, Description: description,
		PackageURL: "pkg:oci/" + title + "@" + version + "?arch=" + platform.Architecture,
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
	return l.sbom(self, src)
}

// newBinarySBOM returns the SBOM of a binary alone, such as the command line for another system.
func newBinarySBOM(b binary, src source) ([]byte, error) {
	l := newList()
	self, err := l.addModules(b.name, b, src)
	if err != nil {
		return nil, err
	}
	return l.sbom(self, src)
}

// sbom returns the SBOM of the component self, which has the components of the list.
func (l *list) sbom(self cdx.Component, src source) ([]byte, error) {
	bom := cdx.NewBOM()
	tool := cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: "hack/image", Version: src.version,
	}
	bom.Metadata = &cdx.Metadata{
		Timestamp: timestamp(src.created), Component: &self,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{tool}},
	}
	l.fill(bom)
	content, err := encode(bom)
	if err != nil {
		return nil, err
	}
	// The serial number depends only on the content, so that the same image has the same SBOM.
	bom.SerialNumber = uuid.NewHash(sha256.New(), uuid.Nil, content, 8).URN()
	return encode(bom)
}

func encode(bom *cdx.BOM) ([]byte, error) {
	var b bytes.Buffer
	e := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	err := e.EncodeVersion(bom, cdx.SpecVersion1_6)
	return b.Bytes(), err
}

// list collects the components of an SBOM. The keys of both maps are BOM references.
type list struct {
	components   map[string]cdx.Component
	dependencies map[string][]string
}

func newList() *list {
	return &list{components: map[string]cdx.Component{}, dependencies: map[string][]string{}}
}

// add adds a component on which the component parent depends.
func (l *list) add(parent string, c cdx.Component) {
	l.components[c.BOMRef] = c
	l.dependencies[parent] = append(l.dependencies[parent], c.BOMRef)
}

// addBinary adds a binary of an image and its modules.
func (l *list) addBinary(parent string, b binary, src source) error {
	self, err := l.addModules("/"+binDir+b.name, b, src)
	if err != nil {
		return err
	}
	l.add(parent, self)
	return nil
}

// addModules adds the modules of a binary, and returns its component.
func (l *list) addModules(path string, b binary, src source) (self cdx.Component, err error) {
	info, err := buildinfo.Read(bytes.NewReader(b.content))
	if err != nil {
		return self, err
	}
	_, program, _ := strings.Cut(info.Path, "/cmd/")
	self = cdx.Component{
		BOMRef: path, Type: cdx.ComponentTypeApplication, Name: path, Version: src.version,
		PackageURL: purl(info.Main.Path, src.version) + "#cmd/" + program,
		Hashes:     &[]cdx.Hash{sha256Of(b.content)},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: license}}},
	}
	// Vulnerability databases list Go's standard library as the module std.
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	l.add(self.BOMRef, module(&debug.Module{Path: "std", Version: goVersion}))
	for _, m := range info.Deps {
		l.add(self.BOMRef, module(m))
	}
	return self, nil
}

// addBase adds the base: an image by its digest, or the CA certificates of our own base. The other
// files of our own base need no component, because nobody else made them.
func (l *list) addBase(parent string, b base) error {
	if b.ref != nil {
		l.add(parent, cdx.Component{
			BOMRef: b.ref.String(), Type: cdx.ComponentTypeContainer,
			Name: b.ref.Context().Name(), Version: b.ref.DigestStr(),
		})
		return nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without build info")
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == rootsModule })
	if i < 0 {
		return errors.New("this program is linked without " + rootsModule)
	}
	file := cdx.Component{
		BOMRef: "/" + certificates, Type: cdx.ComponentTypeFile, Name: "/" + certificates,
		Hashes: &[]cdx.Hash{sha256Of(roots())},
	}
	l.add(parent, file)
	l.add(file.BOMRef, module(info.Deps[i]))
	return nil
}

// fill writes the components and their dependencies to an SBOM, in sorted order.
func (l *list) fill(bom *cdx.BOM) {
	components := slices.SortedFunc(maps.Values(l.components), func(a, b cdx.Component) int {
		return cmp.Compare(a.BOMRef, b.BOMRef)
	})
	bom.Components = &components
	var dependencies []cdx.Dependency
	for _, ref := range slices.Sorted(maps.Keys(l.dependencies)) {
		on := slices.Sorted(slices.Values(l.dependencies[ref]))
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &on})
	}
	bom.Dependencies = &dependencies
}

// module returns the component of a Go module.
func module(m *debug.Module) cdx.Component {
	if m.Replace != nil {
		m = m.Replace
	}
	ref := purl(m.Path, m.Version)
	c := cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeLibrary,
		Name: m.Path, Version: m.Version, PackageURL: ref,
	}
	if m.Sum != "" {
		c.Properties = &[]cdx.Property{{Name: sumProperty, Value: m.Sum}}
	}
	return c
}

// purl returns the package URL of a Go module, by which vulnerability databases identify it:
// https://github.com/package-url/purl-spec.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.QueryEscape(version)
}

func sha256Of(content []byte) cdx.Hash {
	sum := sha256.Sum256(content)
	return cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}
}
