// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tagpin/tagpin/pkg/image"
	"github.com/tagpin/tagpin/pkg/printable"
)

// These bound what is printed for people. JSON has everything.
const (
	maxChildren    = 100 // manifests of an index, layers, attachments
	maxAnnotations = 50
	maxText        = 300 // characters of a value
)

// treePrinter prints a tree for people. Texts of the registry are escaped and cut.
type treePrinter struct{ w io.Writer }

func printTree(w io.Writer, name string, t *image.Tree) {
	p := treePrinter{w}
	fmt.Fprintln(w, printable.Text(name))
	if t.Index != "" {
		p.field(1, "of index", t.Index.String())
	}
	p.field(1, "kind", string(t.Kind))
	p.field(1, "platform", t.Platform)
	p.manifest(1, t.Manifest)
	if len(t.Referrers) == 0 {
		return
	}
	fmt.Fprintln(w, "  attached")
	p.some(2, len(t.Referrers), func(n int) { p.referrer(2, t.Referrers[n]) })
}

func (p treePrinter) line(depth int, text string) {
	fmt.Fprintf(p.w, "%s%s\n", strings.Repeat("  ", depth), text)
}

func (p treePrinter) field(depth int, name, value string) {
	if value != "" {
		p.line(depth, fmt.Sprintf("%-12s %s", name, short(value)))
	}
}

// some calls one for each of n things, and says how many are left out of a long list.
func (p treePrinter) some(depth, n int, one func(int)) {
	for i := range min(n, maxChildren) {
		one(i)
	}
	if n > maxChildren {
		p.line(depth, fmt.Sprintf("… and %d more; see -o json", n-maxChildren))
	}
}

func (p treePrinter) manifest(depth int, m *image.Manifest) {
	p.field(depth, "digest", m.Digest.String())
	p.field(depth, "media type", m.MediaType)
	p.field(depth, "size", size(m.Size))
	p.field(depth, "artifact", m.ArtifactType)
	if m.Kind != image.Attestation {
		p.field(depth, "subject", m.Subject.String())
	}
	p.field(depth, "note", m.Note)
	p.field(depth, "problem", m.Problem)
	p.texts(depth, "annotation", m.Annotations)
	if m.Config != nil {
		p.config(depth, m.Config)
	}
	p.layers(depth, m.Layers)
	p.some(depth, len(m.Manifests), func(n int) {
		p.line(depth, short(title(m.Manifests[n], m.Manifests)))
		p.manifest(depth+1, m.Manifests[n])
	})
}

// title names a manifest of an index. Of an attestation, it names the platform of its image.
func title(m *image.Manifest, among []*image.Manifest) string {
	switch {
	case m.Kind == image.Attestation && m.Subject != "":
		for _, other := range among {
			if other.Digest == m.Subject && other.Platform != "" {
				return "attestation of " + other.Platform
			}
		}
		return "attestation of " + m.Subject.String()
	case m.Kind == image.Other:
		return "other manifest"
	case m.Kind == image.Image && m.Platform != "":
		return m.Platform
	case m.Platform != "":
		return string(m.Kind) + " for " + m.Platform
	}
	return string(m.Kind)
}

func (p treePrinter) config(depth int, c *image.Config) {
	p.field(depth, "config", described(c.Descriptor))
	p.field(depth, "created", c.Created)
	p.field(depth, "author", c.Author)
	p.field(depth, "entrypoint", list(c.Entrypoint))
	p.field(depth, "cmd", list(c.Cmd))
	p.field(depth, "user", c.User)
	p.field(depth, "directory", c.WorkingDir)
	p.field(depth, "env", strings.Join(c.Env, ", "))
	p.field(depth, "ports", strings.Join(c.Ports, ", "))
	p.field(depth, "volumes", strings.Join(c.Volumes, ", "))
	p.field(depth, "stop signal", c.StopSignal)
	p.texts(depth, "label", c.Labels)
}

func (p treePrinter) layers(depth int, layers []image.Layer) {
	p.some(depth, len(layers), func(n int) {
		l := layers[n]
		text := described(l.Descriptor)
		if l.Content != "" {
			text += ", " + l.Content
		}
		if l.Foreign {
			text += ", foreign: " + strings.Join(l.URLs, " ")
		}
		p.field(depth, "layer "+strconv.Itoa(n+1), text)
	})
	if len(layers) > 1 {
		var total int64
		for _, l := range layers {
			total += max(0, l.Size)
		}
		p.field(depth, "all layers", size(total))
	}
}

func (p treePrinter) referrer(depth int, r image.Referrer) {
	p.line(depth, short(r.Content))
	p.field(depth+1, "digest", r.Digest.String())
	p.field(depth+1, "media type", r.MediaType)
	if r.ArtifactType != r.Content {
		p.field(depth+1, "artifact", r.ArtifactType)
	}
	if r.Size > 0 {
		p.field(depth+1, "size", size(r.Size))
	}
	p.field(depth+1, "of", r.Of.String())
	p.field(depth+1, "tag", r.Tag)
	p.texts(depth+1, "annotation", r.Annotations)
}

func (p treePrinter) texts(depth int, name string, texts map[string]string) {
	for n, key := range slices.Sorted(maps.Keys(texts)) {
		if n == maxAnnotations {
			p.line(depth, fmt.Sprintf("… and %d more; see -o json", len(texts)-n))
			return
		}
		p.field(depth, name, key+"="+texts[key])
	}
}

func described(d image.Descriptor) string {
	return fmt.Sprintf("%s, %s, %s", d.Digest, size(d.Size), d.MediaType)
}

// list returns a list as JSON, so that the parts can be told apart.
func list(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(texts) // texts always have JSON
	return strings.TrimSuffix(b.String(), "\n")
}

// short returns a text as it is printed: escaped, and not much longer than maxText.
func short(text string) string {
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "…"
	}
	return printable.Text(text)
}

// size returns a number of bytes in the decimal units that registries and docker use.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 999.95 && unit < len("kMGTP") {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[unit-1])
}

// fileList prints the files of a layer while they are read.
type fileList struct {
	w     *bufio.Writer
	json  bool
	count int
}

func newFileList(out io.Writer, asJSON bool) *fileList {
	return &fileList{w: bufio.NewWriter(out), json: asJSON}
}

func (l *fileList) add(e image.Entry) error {
	l.count++
	if l.json {
		before := ",\n  "
		if l.count == 1 {
			before = "[\n  "
		}
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = l.w.WriteString(before + string(data))
		return err
	}
	mode, name := e.Mode, printable.Text(e.Name)
	if e.Whiteout != image.NoWhiteout {
		mode = string(e.Whiteout)
	}
	switch {
	case e.HardLink:
		name += " link to " + printable.Text(e.Link)
	case e.Link != "":
		name += " -> " + printable.Text(e.Link)
	}
	_, err := fmt.Fprintf(l.w, "%-10s %5d/%-5d %12d %s %s\n", mode, e.UID, e.GID, e.Size, e.Modified,
		name)
	return err
}

func (l *fileList) flush() error { return l.w.Flush() }

// end ends the list. Only a whole list is valid JSON.
func (l *fileList) end() error {
	switch {
	case l.json && l.count == 0:
		_, _ = l.w.WriteString("[]\n")
	case l.json:
		_, _ = l.w.WriteString("\n]\n")
	}
	return l.w.Flush() // which has the error of each earlier write
}
