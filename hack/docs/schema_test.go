// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/config"
)

// TestAllowed: the server takes each value that the schema allows for a field of few, and no other.
func TestAllowed(t *testing.T) {
	t.Chdir("../..")
	types, err := configTypes()
	if err != nil {
		t.Fatal(err)
	}
	s, err := structSchema(types, "", types["Config"])
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	collect(found, "", s)
	if len(found) < 8 {
		t.Errorf("the schema has values for %d fields, want some more", len(found))
	}
	for path, values := range found {
		if strings.HasPrefix(path, "registration.pin") {
			continue // one of the two is refused alone
		}
		for _, value := range values {
			if text := file(path, value); !good(text) {
				t.Errorf("the schema allows what is refused:\n%s", text)
			}
		}
		if text := file(path, "other"); good(text) {
			t.Errorf("the schema refuses what is taken:\n%s", text)
		}
	}
}

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

// file is a config file with one field set.
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

func good(text string) bool {
	_, err := config.Parse([]byte(text))
	return err == nil
}
