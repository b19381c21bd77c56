// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"os"
	"strings"

	"github.com/tagpin/tagpin/pkg/config"
)

// chartSchema is the JSON schema of the chart's values.
const chartSchema = "deploy/chart/values.schema.json"

// schema is a JSON schema. It has the keywords that the schema of the config file uses.
type schema struct {
	Description          string             `json:"description,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Minimum              int                `json:"minimum,omitempty"`
	ExclusiveMinimum     *int               `json:"exclusiveMinimum,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	MinItems             int                `json:"minItems,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AdditionalProperties *bool              `json:"additionalProperties,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
}

// updateSchema updates the definition of the config, which must be the last one in the chart's
// schema. The rest of the schema is written by hand.
func updateSchema(check bool) error {
	before, err := os.ReadFile(chartSchema)
	if err != nil {
		return err
	}
	const at = "\n    \"config\": {"
	i := bytes.LastIndex(before, []byte(at))
	if i < 0 {
		return errors.New("the file has no definition of config")
	}
	types, err := configTypes()
	if err != nil {
		return err
	}
	s, err := structSchema(types, "", types["Config"])
	if err != nil {
		return err
	}
	s.Required = nil // the chart adds the apiVersion and the kind
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("    ", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	after := append(before[:i:i], at[:len(at)-1]...)
	after = append(append(after, bytes.TrimSpace(text.Bytes())...), "\n  }\n}\n"...)
	return write(chartSchema, before, after, check)
}

func structSchema(
	types map[string]*ast.StructType,
	path string,
	t *ast.StructType,
) (*schema, error) {
	s := &schema{Type: "object", AdditionalProperties: new(bool), Properties: map[string]*schema{}}
	for _, f := range t.Fields.List {
		name, about, err := describe(f)
		if err != nil {
			return nil, err
		}
		field, err := typeSchema(types, path+name, f.Type)
		if err != nil {
			return nil, err
		}
		field.Description = about
		s.Properties[name] = field
		if strings.Contains(strings.ToLower(about), "at least one is required") {
			field.MinItems = 1
		}
		if field.MinItems > 0 || strings.Contains(about, " Required.") {
			s.Required = append(s.Required, name)
		}
	}
	return s, nil
}

func typeSchema(types map[string]*ast.StructType, path string, t ast.Expr) (*schema, error) {
	if array, ok := t.(*ast.ArrayType); ok {
		items, err := typeSchema(types, path+"[]", array.Elt)
		return &schema{Type: "array", Items: items}, err
	}
	name, ok := t.(*ast.Ident)
	if !ok {
		return nil, fmt.Errorf("the type of %s has no schema", path)
	}
	switch name.Name {
	case "string":
		return &schema{Type: "string", Enum: allowed(path), Pattern: pattern(path)}, nil
	case "Duration":
		return &schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}, nil
	case "bool":
		return &schema{Type: "boolean"}, nil
	case "int":
		return &schema{Type: "integer", Minimum: 1}, nil
	case "float64":
		return &schema{Type: "number", ExclusiveMinimum: new(int)}, nil
	}
	if types[name.Name] == nil {
		return nil, fmt.Errorf("the type of %s, %s, has no schema", path, name.Name)
	}
	return structSchema(types, path+".", types[name.Name])
}

// allowed returns the allowed values of a field, or nil if the field does not have a fixed set.
func allowed(path string) []string {
	switch path {
	case "apiVersion":
		return []string{config.APIVersion}
	case "kind":
		return []string{config.Kind}
	case "output":
		return []string{"tag-and-digest", "digest"}
	case "onFailure.notFound", "onFailure.unauthorized", "onFailure.unavailable", "onFailure.invalid":
		return []string{"deny", "defer", "allow"}
	case "credentials.clouds[]":
		return []string{"google", "amazon", "azure"}
	case "registration.pin[]":
		return []string{"workloads", "pods"}
	case "certificates.mode":
		return []string{config.SelfManaged, config.Mounted}
	}
	return nil
}

// pattern returns the pattern that the values of a field must match, or "" if there is none.
func pattern(path string) string {
	switch path {
	case "network.allow[]", "network.deny[]":
		return "^[0-9a-fA-F.:]+/[0-9]{1,3}$"
	case "credentials.dockerConfig", "registries[].caFile",
		"registries[].clientCertFile", "registries[].clientKeyFile":
		return "^(/.*)?$"
	case "observability.tracing":
		return `^(https?://\S+)?$`
	}
	return ""
}
