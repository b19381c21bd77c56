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

// schemaFile is the chart's schema, with the definitions put in.
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

// TestSchemaOfConfig walks the types of the config file: each field is in the schema, with its type, and none is beside them.
func TestSchemaOfConfig(t *testing.T) {
	walk(t, "config", reflect.TypeFor[config.Config](), at(schemaFile(t), "definitions", "config").(object))
}

func walk(t *testing.T, path string, typ reflect.Type, schema object) {
	t.Helper()
	want := map[reflect.Kind]string{
		reflect.Struct: "object", reflect.Slice: "array", reflect.String: "string", reflect.Bool: "boolean",
		reflect.Int: "integer", reflect.Int64: "string", reflect.Float64: "number",
	}[typ.Kind()]
	if typ.Kind() == reflect.Int64 && typ != reflect.TypeFor[config.Duration]() {
		t.Errorf("%s is of type %v", path, typ)
	}
	if schema["type"] != want {
		t.Errorf("%s is of type %v in the schema, want %v", path, schema["type"], want)
	}
	switch typ.Kind() {
	case reflect.Slice:
		walk(t, path+"[]", typ.Elem(), at(schema, "items").(object))
	case reflect.Struct:
		properties := at(schema, "properties").(object)
		if schema["additionalProperties"] != false {
			t.Errorf("%s takes any field", path)
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
			walk(t, path+"."+name, f.Type, properties[name].(object))
		}
		slices.Sort(names)
		if diff := cmp.Diff(names, slices.Sorted(maps.Keys(properties))); diff != "" {
			t.Errorf("%s, -config +schema:\n%s", path, diff)
		}
	}
}

// TestSchemaOfValues: the schema knows no value that values.yaml does not document. (That values.yaml has none beside the schema is
// what every rendering checks.)
func TestSchemaOfValues(t *testing.T) {
	all := defaults(t)
	all["global"], all["enabled"] = object{}, true // what is of a chart that has this one in it
	known(t, "values", all, schemaFile(t))
}

// defaults are those of values.yaml.
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

func known(t *testing.T, path string, defaults, schema object) {
	t.Helper()
	properties, _ := schema["properties"].(object)
	if schema["type"] == "object" && properties != nil && schema["additionalProperties"] != false {
		t.Errorf("%s takes any value", path)
	}
	for name, s := range properties {
		value, ok := defaults[name]
		if !ok {
			t.Errorf("%s.%s is in the schema, and not in values.yaml", path, name)
		}
		if m, ok := value.(object); ok && len(m) > 0 && at(s, "properties") != nil && name != "resources" {
			known(t, path+"."+name, m, s.(object))
		}
	}
}

// TestWholeConfig takes a config file in which every field is set through the values: what the server reads is the same.
func TestWholeConfig(t *testing.T) {
	text, err := os.ReadFile("../../pkg/config/testdata/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := values(t, string(text))
	// What the chart knows is said by its own values.
	at(whole, "certificates").(object)["service"] = "tagpin-webhook"
	v := values(t, "{certificates: {mode: given, secret: tls, caBundle: "+quoted+"}}")
	if registration, ok := whole["registration"].(object); ok {
		registration["name"] = "zz-tagpin"
		v["pin"] = registration["pin"]
	}
	v["config"] = whole
	files, err := render(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse([]byte(at(objects(t, files)["ConfigMap tagpin-webhook"], "data", "config.yaml").(string)))
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
		t.Errorf("the config, -want +got:\n%s", diff)
	}
}
