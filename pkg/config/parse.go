// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the file: a ConfigMap is no larger.
const maxFile = 1 << 20

// Duration is a time.Duration that is written as 30s, 5m or 1h.
type Duration time.Duration

// String is what UnmarshalYAML reads, without units of which there are none: 1h, not 1h0m0s.
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

// MarshalYAML writes what UnmarshalYAML reads.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// UnmarshalYAML reads a duration with its unit. Its error is a yaml.TypeError, which the decoder collects.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	parsed, err := time.ParseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no duration, such as 30s or 1h", n.Line, n.Value)}}
	}
	*d = Duration(parsed)
	return nil
}

// Load reads and parses a file. An empty path gives the defaults.
func Load(path string) (*Config, error) {
	if path == "" {
		return Default(), nil
	}
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("config %s: larger than %d bytes", path, maxFile)
	}
	return data, nil
}

// Parse reads a config and validates it. Its error names every mistake, one a line: unknown and doubled fields by their
// line, bad values by the path of their field.
func Parse(data []byte) (*Config, error) {
	c := Default()
	c.APIVersion, c.Kind = "", "" // the file has to say what it is
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var mistakes *yaml.TypeError
	switch err := decoder.Decode(c); {
	case errors.As(err, &mistakes):
	case errors.Is(err, io.EOF): // nothing but comments: Validate says what is missing
	case err != nil:
		return nil, err
	}
	errs := typeErrors(mistakes)
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		errs = append(errs, errors.New("more than one document"))
	}
	if !doubled(mistakes) {
		c.inherit(data)
		errs = append(errs, c.problems()...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// typeErrors takes the decoder's errors apart, in words that don't name Go's types.
func typeErrors(mistakes *yaml.TypeError) []error {
	if mistakes == nil {
		return nil
	}
	errs := make([]error, len(mistakes.Errors))
	for i, text := range mistakes.Errors {
		if before, _, ok := strings.Cut(text, " in type config."); ok {
			text = strings.Replace(before, "not found", "is unknown", 1)
		}
		errs[i] = errors.New(text)
	}
	return errs
}

// doubled tells that a key stands twice in one mapping: the decoder leaves all of that mapping unread, and its values
// would be found missing.
func doubled(mistakes *yaml.TypeError) bool {
	return mistakes != nil && slices.ContainsFunc(mistakes.Errors, func(text string) bool {
		return strings.Contains(text, " already defined at ")
	})
}

// inherit gives each registry the settings of "*" where it has none of its own. The file is read once more for it: what
// was written as false or 0 is told from what was not written.
func (c *Config) inherit(data []byte) {
	var file struct {
		Registries []yaml.Node `yaml:"registries"`
	}
	_ = yaml.Unmarshal(data, &file) // its mistakes are the strict decoder's, which is asked first
	base, found := defaultRegistry(), false
	for i := range file.Registries {
		r := defaultRegistry()
		r.Host = ""
		if _ = file.Registries[i].Decode(&r); r.Host == allHosts && !found {
			base, found = r, true
		}
	}
	if len(file.Registries) > 0 {
		c.Registries = make([]Registry, 0, len(file.Registries)+1)
	}
	for i := range file.Registries {
		r := defaultRegistry()
		r.Timeout, r.MaxInFlight, r.RequestsPerSecond, r.Verify = base.Timeout, base.MaxInFlight, base.RequestsPerSecond, base.Verify
		r.Host = ""
		_ = file.Registries[i].Decode(&r)
		c.Registries = append(c.Registries, r)
	}
	if !found && len(file.Registries) > 0 {
		c.Registries = append(c.Registries, base)
	}
	if len(c.Registries) == 0 {
		c.Registries = []Registry{base}
	}
}
