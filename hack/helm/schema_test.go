// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/config"
)

// schemaFile returns the schema of the chart.
func schemaFile(t *testing.T) object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema object
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaOfConfig checks that the schema has exactly the fields of the config file, with their
// types.
func TestSchemaOfConfig(t *testing.T) {
	schema := at(schemaFile(t), "definitions", "config").(object)
	compareType(t, "config", reflect.TypeFor[config.Config](), schema)
}

// compareType compares a Go type of the config with its schema.
func compareType(t *testing.T, path string, typ reflect.Type, schema object) {
	t.Helper()
	want := map[reflect.Kind]string{
		reflect.Struct: "object", reflect.Slice: "array", reflect.String: "string", reflect.Bool: "boolean",
		reflect.Int: "integer", reflect.Int64: "string", reflect.Float64: "number", reflect.Map: "object",
	}[typ.Kind()]
	if typ.Kind() == reflect.Int64 && typ != reflect.TypeFor[config.Duration]() {
		t.Errorf("%s has the type %v, which this test does not know", path, typ)
	}
	if schema["type"] != want {
		t.Errorf("%s has the type %v in the schema, want %v", path, schema["type"], want)
	}
	switch typ.Kind() {
	case reflect.Slice:
		compareType(t, path+"[]", typ.Elem(), at(schema, "items").(object))
	case reflect.Map:
		compareType(t, path+"{}", typ.Elem(), at(schema, "additionalProperties").(object))
	case reflect.Struct:
		properties := at(schema, "properties").(object)
		if schema["additionalProperties"] != false {
			t.Errorf("the schema of %s allows unknown fields", path)
		}
		var names []string
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := f.Tag.Get("yaml")
			names = append(names, name)
			if properties[name] == nil {
				t.Errorf("%s.%s is not in the schema", path, name)
				continue
			}
			compareType(t, path+"."+name, f.Type, properties[name].(object))
		}
		slices.Sort(names)
		if diff := cmp.Diff(names, slices.Sorted(maps.Keys(properties))); diff != "" {
			t.Errorf("fields of %s (-config +schema):\n%s", path, diff)
		}
	}
}

// TestSchemaOfValues checks that every value in the schema is in values.yaml. The reverse is
// checked whenever the chart is rendered.
func TestSchemaOfValues(t *testing.T) {
	all := defaults(t)
	all["enabled"] = true // only a parent chart sets it
	schema := schemaFile(t)
	// A parent chart also sets global values that are for other charts.
	at(schema, "properties", "global").(object)["additionalProperties"] = false
	checkProperties(t, "values", all, schema)
}

// defaults returns the values in values.yaml.
func defaults(t *testing.T) (all object) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkProperties checks that defaults has all properties of a schema.
func checkProperties(t *testing.T, path string, defaults, schema object) {
	t.Helper()
	properties, _ := schema["properties"].(object)
	if schema["type"] == "object" && properties != nil && schema["additionalProperties"] != false {
		t.Errorf("the schema of %s allows unknown values", path)
	}
	for name, s := range properties {
		value, ok := defaults[name]
		if !ok {
			t.Errorf("%s.%s is in the schema, but not in values.yaml", path, name)
		}
		m, _ := value.(object)
		if len(m) > 0 && at(s, "properties") != nil && name != "resources" && name != "dnsConfig" &&
			at(s, "$ref") == nil {
			checkProperties(t, path+"."+name, m, s.(object))
		}
	}
}

// TestWholeConfig sets every field of the config in the values, and checks that the server reads
// the same config from the ConfigMap.
func TestWholeConfig(t *testing.T) {
	text, err := os.ReadFile("../../pkg/config/testdata/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := values(t, string(text))
	// Other values set these fields.
	at(whole, "certificates").(object)["service"] = "tagpin-webhook"
	v := values(t, "{certificates: {mode: given, secret: tls, caBundle: "+quoted+"}}")
	if registration, ok := whole["registration"].(object); ok {
		registration["name"] = "zz-tagpin"
		for _, name := range []string{
			"pin", "defaultMode", "excludedNamespaces", "namespaceSelector", "objectSelector",
			"keepOnly", "failurePolicy", "timeoutSeconds",
		} {
			if value, ok := registration[name]; ok {
				v[name] = value
			}
		}
		v["namespaces"] = "opt-out" // because the file has a default mode
	}
	v["config"] = whole
	files, err := render(v)
	if err != nil {
		t.Fatal(err)
	}
	configMap := objects(t, files)["ConfigMap tagpin-webhook"]
	got, err := config.Parse([]byte(at(configMap, "data", "config.yaml").(string)))
	if err != nil {
		t.Fatal(err)
	}
	text, err = yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}
