// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Advice says what to do about an image of Kind, as an order: to add the kind to the config. paths
// are those of all images of the kind, of all files: the config can have a kind only once, and then
// no other path counts.
func (l Left) Advice(paths []string) string {
	advice := "add " + entry(l.Kind, paths) + " to `templates` in the config file that --config names"
	if l.Instead != "" {
		advice = l.Instead + ", or " + advice
	}
	return advice
}

// entry returns the entry of the config for a kind and the paths to its images. If it is not short,
// or has an odd text, entry returns words instead.
func entry(kind workload.Kind, paths []string) string {
	templates, others := byTemplates(paths)
	texts := append(slices.Concat(templates, others), cmp.Or(kind.Group, "core"), kind.Kind)
	odd := func(text string) bool { return !plain.MatchString(text) }
	if len(texts) > maxTexts || slices.ContainsFunc(texts, odd) {
		return "the kind and the paths to its images"
	}
	text := fmt.Sprintf("{group: %s, kind: %s", cmp.Or(kind.Group, `""`), kind.Kind)
	if len(templates) > 0 {
		text += ", paths: " + list(templates)
	}
	if len(others) > 0 {
		text += ", images: " + list(others)
	}
	return text + "}"
}

// maxTexts bounds the paths in a message, which should be read by a person.
const maxTexts = 10

// plain matches paths and names that the config can have as they are; [*] needs quotes.
var plain = regexp.MustCompile(`^[\w-]+(\[\*\])?(\.[\w-]+(\[\*\])?)*$`)

// templateImage matches the path to an image in a pod template.
var templateImage = regexp.MustCompile(`^(.*)\.spec\.(?:(?:` +
	strings.Join(workload.ContainerLists[:], "|") + `)\[\*\]\.image|volumes\[\*\]\.image\.reference)$`)

// byTemplates returns the paths to the pod templates that have images, and the paths to the other
// images.
func byTemplates(paths []string) (templates, others []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		to := &others
		if m := templateImage.FindStringSubmatch(path); m != nil {
			path, to = m[1], &templates
		}
		if !seen[path] {
			seen[path] = true
			*to = append(*to, path)
		}
	}
	return templates, others
}

// configPath returns the path that the config has for a pointer.
func configPath(p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			path.WriteString("[*]")
		} else {
			path.WriteString("." + token)
		}
	}
	return strings.TrimPrefix(path.String(), ".")
}

// list returns paths as a list in YAML.
func list(paths []string) string {
	texts := slices.Clone(paths)
	for i, path := range texts {
		if strings.Contains(path, "[") {
			texts[i] = strconv.Quote(path)
		}
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
