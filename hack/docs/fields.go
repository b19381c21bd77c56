// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// fields returns a table of all fields of the config file.
func fields(context.Context) (string, error) {
	types, err := configTypes()
	if err != nil {
		return "", err
	}
	t := fieldTable{types: types}
	t.b.WriteString("| field | |\n|---|---|\n")
	err = t.add("", t.types["Config"])
	return t.b.String(), err
}

// configTypes returns the struct types of package config, by their Go names.
func configTypes() (map[string]*ast.StructType, error) {
	const source = "pkg/config/config.go"
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	types := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				types[spec.Name.Name] = s
			}
		}
		return true
	})
	if types["Config"] == nil {
		return nil, errors.New(source + " has no type Config")
	}
	return types, nil
}

// describe returns the name of a field in the config file, and its comment as one line.
func describe(f *ast.Field) (name, about string, err error) {
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return "", "", err
	}
	name = reflect.StructTag(tag).Get("yaml")
	about = strings.Join(strings.Fields(f.Doc.Text()), " ")
	if about == "" {
		return "", "", fmt.Errorf("field %s has no comment", name)
	}
	// A Go comment begins with the Go name of the field. The table has the name in another column.
	for _, start := range []string{f.Names[0].Name, ": ", " ", "is ", "are "} {
		about = strings.TrimPrefix(about, start)
	}
	return name, about, nil
}

// fieldTable builds the table of fields.
type fieldTable struct {
	types map[string]*ast.StructType
	b     strings.Builder
}

// add adds the fields of a struct type. If the type of a field is a struct, or a list of structs,
// its fields follow.
func (t *fieldTable) add(path string, s *ast.StructType) error {
	for _, f := range s.Fields.List {
		name, about, err := describe(f)
		if err != nil {
			return err
		}
		name = path + name
		typ := f.Type
		if array, ok := typ.(*ast.ArrayType); ok {
			typ = array.Elt
			name += "[]"
		}
		fmt.Fprintf(&t.b, "| `%s` | %s |\n", name, about)
		if id, ok := typ.(*ast.Ident); ok && t.types[id.Name] != nil {
			if err := t.add(name+".", t.types[id.Name]); err != nil {
				return err
			}
		}
	}
	return nil
}
