// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/config"
)

const configSchemaFile = "../../pkg/config/schema.json"

// configSchema compiles the schema of the config file.
func configSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(configSchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate validates a YAML document.
func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var document any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Validate(document)
}

// TestConfigSchema validates config files, one of which has most fields. They name the schema for
// editors.
func TestConfigSchema(t *testing.T) {
	s := configSchema(t)
	schema, err := os.ReadFile(configSchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	url, _ := at(values(t, string(schema)), "$id").(string)
	for _, file := range []string{
		"../../pkg/config/testdata/whole.yaml", "../../deploy/kustomize/configmap.yaml",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if inside := at(values(t, string(text)), "data", "config.yaml"); inside != nil {
			text = []byte(inside.(string))
		}
		if err := validate(t, s, string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		line := "# yaml-language-server: $schema=" + url + "\n"
		if !strings.HasPrefix(string(text), line) {
			t.Errorf("%s does not begin with %s", file, line)
		}
	}
}

// TestConfigSchemaRefuses checks that the schema refuses mistakes, as package config does.
func TestConfigSchemaRefuses(t *testing.T) {
	s := configSchema(t)
	const head = "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"
	for _, text := range []string{
		"{}",
		"kind: Config\n",
		"apiVersion: tagpin.dev/v1alpha1\n",
		"apiVersion: tagpin.dev/v1\nkind: Config\n",
		head + "outptu: digest\n",
		head + "output: digests\n",
		head + "exemptImages: docker.io/library/nginx\n",
		head + "onFailure: {notFound: never}\n",
		head + "cache: {ttl: 30}\n",
		head + "cache: {ttl: 30x}\n",
		head + "cache: {size: 0}\n",
		head + "maxInFlightPerNamespace: many\n",
		head + "refreshOnRestart: 1\n",
		head + "refreshAnnotations: [a, b, c, d, e, f, g, h, i]\n",
		head + "credentials: {clouds: [aws]}\n",
		head + "credentials: {dockerConfig: config.json}\n",
		head + "network: {allow: [10.0.0.1]}\n",
		head + "registries: [{timeout: 1s}]\n",
		head + "registries: [{host: a.b, mirror: []}]\n",
		head + "registries: [{host: a.b, mirrors: [{resolve: true}]}]\n",
		head + "registries: [{host: a.b, requestsPerSecond: 0}]\n",
		head + "skipOwners: [{owner: a.b/C}]\n",
		head + "templates: [{kind: Rollout, paths: []}]\n",
		head + "registration: {pin: [deployments]}\n",
		head + "certificates: {mode: magic}\n",
		head + "observability: {tracing: 'ftp://collector'}\n",
	} {
		if validate(t, s, text) == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
		if _, err := config.Parse([]byte(text)); err == nil {
			t.Errorf("package config accepts\n%s", text)
		}
	}
	if err := validate(t, s, head); err != nil {
		t.Errorf("the schema refuses a config of defaults: %v", err)
	}
}

// TestConfigSchemaDefaults checks that a config with all defaults of the schema is the default.
func TestConfigSchemaDefaults(t *testing.T) {
	text, err := yaml.Marshal(withDefaults(configSchema(t), map[string]any{
		"apiVersion": config.APIVersion, "kind": config.Kind,
	}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the defaults of the schema (-want +got):\n%s", diff)
	}
}

// withDefaults adds the defaults of a schema to an object.
func withDefaults(s *jsonschema.Schema, o map[string]any) map[string]any {
	for name, property := range s.Properties {
		switch {
		case property.Properties != nil:
			o[name] = withDefaults(property, map[string]any{})
		case property.Default != nil:
			o[name] = *property.Default
		}
	}
	return o
}
