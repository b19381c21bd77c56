// SPDX-License-Identifier: Apache-2.0

// Package manifest finds the image references in files and replaces their text.
//
// A file is a stream of YAML documents or JSON values, or a Dockerfile. A format recognizes a
// document and finds its references: Kubernetes manifests, Kustomizations, JSON patches, values of
// Helm charts, compose files, workflows and actions of GitHub, and Dockerfiles. Parse returns the
// references of all formats in the same way, as objects of package workload. Documents that no
// format recognizes are ignored.
//
//	f, err := manifest.Parse("deploy.yaml", data, table)
//	for _, o := range f.Objects { … o.PodSpecs … o.Position(reference) … }
//	data, err = f.Edit(edits)
//
// An edit replaces only the bytes of one scalar, or adds one line for a digest. The file is not
// encoded again, so comments, order, quotes and line ends stay as the author wrote them. Edit then
// parses its own result, and returns an error if anything but the edited scalars differs; only
// where the edited lines already show that nothing else can differ, it does not parse. A reference
// that is an alias is edited where its anchor is, unless other uses of the anchor would change too.
//
// The package does not decide which references to pin and does not contact registries. It changes
// only what is an image for certain. Other images are in File.Left, with the reason: those in JSON
// patches and in kinds that are not known, those in texts, such as patches within a Kustomization,
// and what is only likely to be an image.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// File is a parsed file. Its content does not change. It is not safe for concurrent use.
type File struct {
	// Name is the name of the file. It is used in error messages.
	Name string
	// Objects have the references, in document order. An object is a Kubernetes object of a known
	// kind, or a whole document of another format. Items of lists are included.
	Objects []*Object
	// Left are images that the file names, but not in a way that allows to pin them there. A reference
	// with a digest is not among them.
	Left []Left
	// Pinned are the references that would be in Left if they had no digest.
	Pinned []Pin
	// Unknown are the paths to the images, and to what are likely to be images, in objects whose kinds
	// the table does not have, as the config has them: spec.steps[*].image.
	Unknown map[workload.Kind][]string
	// External are the charts and the bases that the file names and other programs fetch. Their images
	// are not looked for.
	External []External
	// Ignored is the number of references that have the comment tagpin:ignore. Objects do not have
	// them.
	Ignored int

	as        string // the name that decides about its format
	data      []byte
	table     *workload.Table
	lines     lineIndex
	formats   []*format    // the first one of each document that was recognized
	documents []*yaml.Node // none in a Dockerfile
	json      bool         // the file is JSON, and not YAML
	unique    map[*yaml.Node]bool
	repeats   map[*yaml.Node][]repeat // by the mappings that have the pair in addition to their own
	// These are made when they are needed: the pairs of large mappings, and the keys of repeats.
	indexes    map[*yaml.Node]*keyIndex
	folded     map[*yaml.Node]*keyIndex // of mappings whose keys can be in any case
	repeatKeys map[*yaml.Node]map[string]*yaml.Node
	operations map[*yaml.Node]bool // the nodes that were looked at, and whether they are operations
	// unknownPaths are the paths that Unknown has.
	unknownPaths map[kindPath]bool

	ignores map[int]bool // lines whose references are ignored
	aliases bool         // the file has aliases
	// aliasLines are the lines of aliases, if the file has ignores.
	aliasLines map[use]int
	expanded   int // see addExpanded
	spans      map[*yaml.Node]spanOf
}

// Left is an image that can't be pinned in this file.
type Left struct {
	Line, Column int
	Text         string // the text in the file, or words that say what it is
	// Reference reports that Text is a reference, and that nothing else can give the image a digest.
	// Otherwise the image also depends on something else, or is not known for certain.
	Reference bool
	Why       string
	// Kind is the kind of the object that has the image, if the image is left because the table does
	// not have the kind. Advice says how to add it. Otherwise Kind is empty.
	Kind workload.Kind
	// Instead says what else can be done about an image of Kind, with a verb first. It is empty if
	// nothing else can.
	Instead string
}

// Pin is a reference with a digest that this package could not pin where it is.
type Pin struct {
	Line, Column int
	Text         string // with the digest, also if the file has it in another place
	Pointer      string // where it is in its document; of a patch, it is where that puts it
}

// Parse parses a file whose content is data. It builds a tree of the whole file in memory. An error
// begins with the name of the file and the line, as those of compilers do. If other programs may
// find images in the file, the error matches ErrMayHaveImages.
func Parse(name string, data []byte, table *workload.Table) (*File, error) {
	return ParseAs(name, name, data, table)
}

// ParseAs is like Parse, for a file that a program reads as if its name was another one: Helm reads
// every file that the flag --values names as it reads values.yaml.
func ParseAs(name, as string, data []byte, table *workload.Table) (*File, error) {
	f := &File{Name: name, as: as, data: data, table: table, lines: newLineIndex(data)}
	f.findIgnores()
	parse, mayHaveImages := f.addDocuments, f.mayHaveImages
	if isDockerfile(as) && !isUTF16(data) {
		parse = f.parseDockerfile
		mayHaveImages = func() bool { return fromLine.Match(data) }
	}
	err := parse()
	switch {
	case err == nil && len(f.Objects) == 0:
		return f.withoutTree(), nil
	case err == nil:
		return f, nil
	case !errors.Is(err, ErrMayHaveImages) && mayHaveImages():
		err = suspectError{err}
	}
	return nil, err
}

// withoutTree returns a file without objects that needs little memory: its tree, with which only
// references are edited, needs up to a hundred times as much as its text.
func (f *File) withoutTree() *File {
	return &File{
		Name: f.Name, Left: f.Left, Pinned: f.Pinned, Unknown: f.Unknown, External: f.External,
		Ignored: f.Ignored, as: f.as, data: f.data, table: f.table, formats: f.formats, json: f.json,
	}
}

// addDocuments adds the references of all YAML documents or JSON values.
func (f *File) addDocuments() error {
	if err := f.parse(); err != nil {
		return err
	}
	known := make([][]*format, len(f.documents))
	for i, root := range f.documents {
		if known[i] = f.recognize(root); len(known[i]) > 0 {
			f.formats = append(f.formats, known[i][0])
		}
	}
	f.dropRepeats(known)
	for i, root := range f.documents {
		if err := f.addDocument(known[i], root); err != nil {
			return err
		}
	}
	return nil
}

var bom = []byte("\uFEFF")

// parse sets documents. A file that begins with a brace is parsed as JSON. If that fails, it may be
// a YAML flow mapping, which kubectl reads too, whatever the name of the file is.
func (f *File) parse() error {
	if isUTF16(f.data) {
		return f.errorf(1, "the file is UTF-16; manifests are UTF-8")
	}
	text := bytes.TrimPrefix(f.data, bom)
	if !isJSON(text) {
		return f.parseYAML(text)
	}
	f.json = true
	_, jsonErr := f.parseJSON(text)
	if jsonErr == nil {
		return nil
	}
	f.documents, f.json = nil, false
	err := f.parseYAML(text)
	if err != nil && strings.HasSuffix(f.Name, ".json") {
		return jsonErr
	}
	return err
}

// isJSON reports whether a text begins as a JSON object.
func isJSON(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

func (f *File) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", f.Name, line, fmt.Errorf(format, args...))
}

// addExpanded adds size bytes to what the search for images needs. It returns an error if the sum
// is much larger than the file.
func (f *File) addExpanded(line, size int) error {
	f.expanded += size
	if f.expanded > maxExpanded+maxGrowth*len(f.data) {
		return suspectError{f.errorf(line, "the file needs too much memory: its aliases or merge keys "+
			"repeat too much, or its keys are too long")}
	}
	return nil
}

// addFollowed is addExpanded for a document in which each alias is replaced by its value, and which
// has the pairs that merge keys repeat. The search looks at a value again for each alias.
func (f *File) addFollowed(root *yaml.Node) error {
	if !f.aliases {
		return nil
	}
	limit := maxExpanded + maxGrowth*len(f.data) + 1
	known := map[*yaml.Node]int{}
	var followed func(n *yaml.Node) int
	followed = func(n *yaml.Node) (size int) {
		if n.Kind == yaml.ScalarNode {
			return nodeSize + len(n.Value)
		}
		size, ok := known[n]
		if !ok {
			size = nodeSize
			for _, c := range n.Content {
				size = min(size+followed(c), limit)
			}
			for _, r := range f.repeats[n] {
				size = min(size+followed(r.key)+followed(r.value), limit)
			}
			known[n] = size
		}
		return size
	}
	return f.addExpanded(root.Line, followed(root))
}

// Recognized reports whether a format recognizes a document of the file.
func (f *File) Recognized() bool { return len(f.formats) > 0 }

// Manifests reports whether the file has Kubernetes objects for a cluster, whether or not their
// kinds are known, and nothing else that a format recognizes.
func (f *File) Manifests() bool {
	for _, known := range f.formats {
		if !known.cluster {
			return false
		}
	}
	return f.Recognized()
}
