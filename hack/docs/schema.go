// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"regexp"
	"strconv"
	"strings"

	"github.com/tagpin/tagpin/pkg/config"
)

// schema is a JSON schema. It has the keywords that the schema of the config file uses.
type schema struct {
	Schema               string             `json:"$schema,omitempty"`
	ID                   string             `json:"$id,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	Default              any                `json:"default,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Minimum              int                `json:"minimum,omitempty"`
	ExclusiveMinimum     *int               `json:"exclusiveMinimum,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	MinItems             int                `json:"minItems,omitempty"`
	MaxItems             int                `json:"maxItems,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AnyOf                []schema           `json:"anyOf,omitempty"`
	AdditionalProperties any                `json:"additionalProperties,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
}

// newSchema returns the schema of the config file, without defaults.
func newSchema() (*schema, error) {
	types, err := configTypes()
	if err != nil {
		return nil, err
	}
	return structSchema(types, "", types["Config"])
}

// encode returns a schema as JSON whose lines begin with prefix, except for the first.
func (s *schema) encode(prefix string) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	err := e.Encode(s)
	return text.Bytes(), err
}

// atMost finds the maximum length of a list in the comment of its field.
var atMost = regexp.MustCompile(`At most (\d+)\.`)

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
		if most := atMost.FindStringSubmatch(about); most != nil {
			field.MaxItems, _ = strconv.Atoi(most[1])
		}
		if strings.Contains(strings.ToLower(about), "at least one is required") {
			field.MinItems = 1
		}
		if field.MinItems > 0 || strings.Contains(about, " Required.") {
			s.Required = append(s.Required, name)
		}
	}
	if path == "templates[]." { // a kind has one of these, or both
		for _, name := range []string{"paths", "images"} {
			s.Properties[name].MinItems = 1
			s.AnyOf = append(s.AnyOf, schema{Required: []string{name}})
		}
	}
	return s, nil
}

func typeSchema(types map[string]*ast.StructType, path string, t ast.Expr) (*schema, error) {
	if array, ok := t.(*ast.ArrayType); ok {
		items, err := typeSchema(types, path+"[]", array.Elt)
		return &schema{Type: "array", Items: items}, err
	}
	if m, ok := t.(*ast.MapType); ok {
		values, err := typeSchema(types, path+"{}", m.Value)
		return &schema{Type: "object", AdditionalProperties: values}, err
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
	case "shortNames":
		return []string{config.ShortNamesDockerHub, config.ShortNamesLeave}
	case "onFailure.notFound", "onFailure.unauthorized", "onFailure.unavailable", "onFailure.invalid":
		return []string{"deny", "defer", "allow"}
	case "credentials.clouds[]":
		return []string{"google", "amazon", "azure"}
	case "registration.pin[]":
		return []string{"workloads", "pods"}
	case "registration.defaultMode":
		return []string{"", "enforce", "dry-run"}
	case "registration.failurePolicy":
		return []string{"Fail", "Ignore"}
	case "registration.namespaceSelector.matchExpressions[].operator",
		"registration.objectSelector.matchExpressions[].operator":
		return []string{"In", "NotIn", "Exists", "DoesNotExist"}
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
