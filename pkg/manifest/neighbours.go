// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// neighbours are the keys of a mapping of a chart's values that may have parts of an image in the
// same mapping. They are by the stem of the image's key, which is what their own begin with: tag
// and imageTag belong to image, and proxyTag belongs to proxyImage.
type neighbours struct {
	parts      map[string]string // the first key of a tag or a digest
	digests    map[string]string // the first key of a digest
	registries map[string][]registryKey
	known      map[registryText]bool // the texts in registries
	// repository is the first key of the repository of another image than that which the mapping is.
	repository string
}

// registryKey is a key of a registry, at an index of a mapping. Its text is empty if the registry
// is not a text, which may contain one.
type registryKey struct {
	at        int
	key, text string
}

// registryText is the text of a registry of the images with a stem.
type registryText struct{ stem, text string }

// stemOf returns what the key of an image and those of its parts begin with: proxy for proxyImage,
// and for proxyImages.
func stemOf(image cursor) string {
	key := image.lowerKey()
	if stem, ok := strings.CutSuffix(key, "images"); ok {
		key = stem
	}
	return strings.TrimRight(strings.TrimSuffix(key, "image"), "-_")
}

// neighboursOf returns the neighbours of a mapping. They are found once for all images in it.
func (w *walk) neighboursOf(n *yaml.Node) *neighbours {
	if known := w.near[n]; known != nil {
		return known
	}
	near := &neighbours{
		parts: map[string]string{}, digests: map[string]string{},
		registries: map[string][]registryKey{}, known: map[registryText]bool{},
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode {
			near.add(i, n.Content[i].Value, n.Content[i+1])
		}
	}
	if w.near == nil {
		w.near = map[*yaml.Node]*neighbours{}
	}
	w.near[n] = near
	return near
}

// add adds the pair at an index of the mapping.
func (near *neighbours) add(at int, key string, value *yaml.Node) {
	lower := strings.ToLower(key)
	if strings.HasSuffix(lower, "repository") && key != "repository" && isGiven(value) {
		near.repository = cmp.Or(near.repository, key)
	}
	for _, part := range []string{"tag", "version", "digest", "sha"} {
		before, ok := strings.CutSuffix(lower, part)
		if !ok {
			continue
		}
		for _, stem := range stems(before) {
			addFirst(near.parts, stem, key)
			if part == "digest" || part == "sha" {
				addFirst(near.digests, stem, key)
			}
		}
	}
	before, ok := strings.CutSuffix(lower, "registry")
	if !ok || !isGiven(value) {
		return
	}
	for _, stem := range stems(before) {
		near.addRegistry(stem, registryKey{at, key, text(value)})
	}
}

// addRegistry adds the key of a registry for a stem, unless an earlier key has the same text. Few
// of the others can be the beginning of one name, so a search ends soon.
func (near *neighbours) addRegistry(stem string, k registryKey) {
	this := registryText{stem, k.text}
	if !near.known[this] {
		near.known[this] = true
		near.registries[stem] = append(near.registries[stem], k)
	}
}

func addFirst(keys map[string]string, stem, key string) {
	if _, ok := keys[stem]; !ok {
		keys[stem] = key
	}
}

// stems returns the stems of the images to which a part belongs. Its key is a stem, image or not,
// and the name of the part, with a separator or not after each of the first two.
func stems(before string) (all []string) {
	separated := func(text string) []string {
		if n := len(text); n > 0 && strings.ContainsRune("-_", rune(text[n-1])) {
			return []string{text, text[:n-1]}
		}
		return []string{text}
	}
	for _, text := range separated(before) {
		all = append(all, separated(text)...)
		for _, of := range []string{"image", "images"} {
			if stem, ok := strings.CutSuffix(text, of); ok {
				all = append(all, separated(stem)...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// registry returns the key of a registry that may belong to an image with this stem, or "": one of
// the image itself, or one for all images there. It does not belong to an image whose name begins
// with this registry.
func (near *neighbours) registry(stem, name string) string {
	first := registryKey{at: -1}
	for _, keys := range [][]registryKey{near.registries[stem], near.registries[""]} {
		i := slices.IndexFunc(keys, func(k registryKey) bool {
			return k.text == "" || !strings.HasPrefix(name, k.text+"/")
		})
		if i >= 0 && (first.at < 0 || keys[i].at < first.at) {
			first = keys[i]
		}
	}
	return first.key
}

// registries are the registries of a mapping that may belong to what is at one of its keys, and
// those of the mappings above it.
type registries struct {
	*neighbours

	stem  string // of the key
	above *registries
}

// registriesOf returns the registries that may belong to an image, or to the images in a value, at
// a place below others: those beside it, if there are any, and those above it.
func (w *walk) registriesOf(c cursor, above *registries) *registries {
	near, stem := w.neighboursOf(c.parent), stemOf(c)
	if near.registry(stem, "") == "" {
		return above
	}
	return &registries{near, stem, above}
}

// of returns the key of a registry that may belong to an image with this name, or "". A walk bounds
// the sum of all paths, and so the mappings above all images.
func (r *registries) of(name string) string {
	for ; r != nil; r = r.above {
		if key := r.registry(r.stem, name); key != "" {
			return key
		}
	}
	return ""
}
