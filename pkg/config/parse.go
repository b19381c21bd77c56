// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/reload"
)

// Duration is a time.Duration that is written as 30s, 5m or 1h.
type Duration time.Duration

// String returns the text that UnmarshalYAML parses. It leaves out units that are zero: 1h, not
// 1h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if trimmed, ok := strings.CutSuffix(s, "m0s"); ok {
		s = trimmed + "m"
	}
	if trimmed, ok := strings.CutSuffix(s, "h0m"); ok {
		s = trimmed + "h"
	}
	return s
}

// MarshalYAML returns the text that UnmarshalYAML parses.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// UnmarshalYAML parses a duration with its unit. Its error is a yaml.TypeError, so that the decoder
// goes on and collects further errors.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	parsed, err := time.ParseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{
			fmt.Sprintf("line %d: %q is not a duration, such as 30s or 1h", n.Line, n.Value),
		}}
	}
	*d = Duration(parsed)
	return nil
}

// File returns the config file at path, which its Poll reads again each second. If path is empty,
// the config has the defaults and never changes.
func File(path string) *reload.Files[*Config] {
	if path == "" {
		return &reload.Files[*Config]{
			Parse: func([][]byte) (*Config, error) { return Default(), nil },
		}
	}
	return &reload.Files[*Config]{
		Paths: []string{path},
		Parse: func(contents [][]byte) (*Config, error) {
			c, err := Parse(contents[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return c, nil
		},
		Interval: time.Second,
	}
}

// Load reads and parses a file. If path is empty, it returns the defaults.
func Load(path string) (*Config, error) {
	c, err := File(path).Look()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return c, nil
}

// Parse parses a config and validates it. Its error names each mistake on a line of its own, with
// its line in the file: unknown and duplicate fields by their name, and invalid values by the path
// of their field. If a field occurs twice or the text is no YAML, invalid values are not named yet.
func Parse(data []byte) (*Config, error) {
	c := Default()
	c.APIVersion, c.Kind = "", "" // required, unlike the other fields
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	mistakes := &yaml.TypeError{}
	switch err := decoder.Decode(c); {
	case errors.As(err, &mistakes):
	case errors.Is(err, io.EOF): // the file is empty, and validation reports what is missing
	case err != nil:
		return nil, err
	}
	errs, duplicateKey := typeErrors(mistakes)
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		errs = append(errs, errors.New("more than one document"))
	}
	if !duplicateKey {
		c.inherit(data)
		var root yaml.Node
		_ = yaml.Unmarshal(data, &root) // the decoder has reported the same errors
		errs = append(errs, c.validate(&root)...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// typeErrors splits the decoder's error, and removes the names of Go types. It reports whether a
// mapping has a key twice: the decoder then skips the whole mapping, and validation would report
// its values as missing.
func typeErrors(mistakes *yaml.TypeError) (errs []error, duplicateKey bool) {
	for _, text := range mistakes.Errors {
		duplicateKey = duplicateKey || strings.Contains(text, " already defined at ")
		if before, _, ok := strings.Cut(text, " in type config."); ok {
			text = strings.Replace(before, "not found", "is unknown", 1)
		}
		errs = append(errs, errors.New(text))
	}
	return errs, duplicateKey
}

// inherit gives each registry the settings of "*" that it does not set itself. It parses the file
// again, because a Registry can't tell a field that is false or 0 from one that is not set.
func (c *Config) inherit(data []byte) {
	var file struct {
		Registries []yaml.Node `yaml:"registries"`
	}
	_ = yaml.Unmarshal(data, &file) // the strict decoder has reported the same errors
	decode := func(base Registry) (list []Registry) {
		for _, n := range file.Registries {
			r := base
			r.Host = ""
			_ = n.Decode(&r)
			list = append(list, r)
		}
		return list
	}
	base := defaultRegistry()
	list := decode(base)
	all := slices.IndexFunc(list, func(r Registry) bool { return r.Host == allHosts })
	if all < 0 {
		c.Registries = append(list, base)
		return
	}
	base = list[all]
	// These are not inherited.
	base.Mirrors, base.Insecure, base.AuthHosts = nil, false, nil
	base.CAFile, base.ClientCertFile, base.ClientKeyFile = "", "", ""
	c.Registries = decode(base)
}
