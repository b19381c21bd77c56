// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/config"
)

// TestAllowed checks that package config accepts the values that the schema allows for a field with
// a fixed set of values, and no other value.
func TestAllowed(t *testing.T) {
	t.Chdir("../..")
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	collect(found, "", s)
	if len(found) < 8 {
		t.Errorf("the schema has fixed sets of values for %d fields, want at least 8", len(found))
	}
	for path, values := range found {
		if path == "registration.pin[]" || path == "registration.failurePolicy" ||
			strings.HasSuffix(path, ".operator") {
			continue // package config refuses some of the values without other fields
		}
		for _, value := range values {
			if text := file(path, value); !valid(text) {
				t.Errorf("package config refuses a file that the schema allows:\n%s", text)
			}
		}
		if text := file(path, "other"); valid(text) {
			t.Errorf("package config accepts a file that the schema does not allow:\n%s", text)
		}
	}
}

// collect adds the fields with a fixed set of values to found.
func collect(found map[string][]string, path string, s *schema) {
	if s.Enum != nil {
		found[path] = s.Enum
	}
	if s.Items != nil {
		collect(found, path+"[]", s.Items)
	}
	for name, property := range s.Properties {
		collect(found, strings.TrimPrefix(path+"."+name, "."), property)
	}
}

// file returns a config file that sets one field.
func file(path, value string) string {
	parts := strings.Split(path, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		name, list := strings.CutSuffix(parts[i], "[]")
		if list {
			value = "[" + value + "]"
		}
		value = "{" + name + ": " + value + "}"
	}
	text := strings.TrimSuffix(strings.TrimPrefix(value, "{"), "}") + "\n"
	for _, head := range []string{"apiVersion: " + config.APIVersion, "kind: " + config.Kind} {
		if name, _, _ := strings.Cut(head, ":"); name != path {
			text = head + "\n" + text
		}
	}
	return text
}

func valid(text string) bool {
	_, err := config.Parse([]byte(text))
	return err == nil
}
