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

// fields is the table of all settings, out of the comments of package config.
func fields(context.Context) (string, error) {
	types, err := configTypes()
	if err != nil {
		return "", err
	}
	r := reference{types: types}
	r.b.WriteString("| field | |\n|---|---|\n")
	err = r.add("", r.types["Config"])
	return r.b.String(), err
}

// configTypes are the types of the config file, by their Go names.
func configTypes() (map[string]*ast.StructType, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "pkg/config/config.go", nil, parser.ParseComments)
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
		return nil, errors.New("there is no type Config")
	}
	return types, nil
}

// describe gives a field's name in the file, and its comment in one line.
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
	// A comment begins with the field's Go name, as is the custom; here it stands beside its name in the file.
	for _, start := range []string{f.Names[0].Name, ": ", " ", "is ", "are "} {
		about = strings.TrimPrefix(about, start)
	}
	return name, about, nil
}

// reference is a table in the making.
type reference struct {
	types map[string]*ast.StructType
	b     strings.Builder
}

// add adds the fields of a type, and below each one those of its own type.
func (r *reference) add(path string, s *ast.StructType) error {
	for _, f := range s.Fields.List {
		name, about, err := describe(f)
		if err != nil {
			return err
		}
		name = path + name
		of := f.Type
		if array, ok := of.(*ast.ArrayType); ok {
			of = array.Elt
			name += "[]"
		}
		fmt.Fprintf(&r.b, "| `%s` | %s |\n", name, about)
		if id, ok := of.(*ast.Ident); ok && r.types[id.Name] != nil {
			if err := r.add(name+".", r.types[id.Name]); err != nil {
				return err
			}
		}
	}
	return nil
}
