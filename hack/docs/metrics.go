// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// metric describes a metric of tagpin-webhook.
type metric struct {
	name, kind, help string
	labels           []string
}

// constructor matches the functions of package prometheus that create a metric. NewDesc describes a
// metric of one of our collectors, which is a counter if its name ends in _total and otherwise a
// gauge.
var constructor = regexp.MustCompile(`^New(Counter|Gauge|Histogram|Summary|Desc)(Vec|Func)?$`)

// metrics returns a table of all metrics. It finds the calls that create them in the source files.
func metrics(context.Context) (string, error) {
	var all []metric
	for _, folder := range []string{"cmd/tagpin-webhook", "pkg"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			found, err := metricsOf(path)
			all = append(all, found...)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if len(all) == 0 {
		return "", errors.New("found no metrics")
	}
	slices.SortFunc(all, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, m := range all {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	return b.String(), nil
}

// metricsOf returns the metrics that a source file creates.
func metricsOf(path string) (found []metric, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := function.X.(*ast.Ident); !ok || id.Name != "prometheus" {
			return true
		}
		match := constructor.FindStringSubmatch(function.Sel.Name)
		if match == nil {
			return true
		}
		m, metricErr := metricOf(match, call.Args)
		if metricErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, metricErr))
		}
		found = append(found, m)
		return true
	})
	return found, err
}

// metricOf returns the metric that a call creates. match is a match of constructor.
func metricOf(match []string, args []ast.Expr) (metric, error) {
	if match[1] == "Desc" {
		return metricOfDesc(args)
	}
	m := metric{kind: strings.ToLower(match[1])}
	options, ok := args[0].(*ast.CompositeLit)
	if !ok {
		return m, errors.New("the options of a metric must be a composite literal")
	}
	for _, e := range options.Elts {
		field, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch text := literal(field.Value); fmt.Sprint(field.Key) {
		case "Name":
			m.name = text
		case "Help":
			m.help = text
		}
	}
	if match[2] == "Vec" {
		m.labels = literals(args[1])
	}
	return m, m.check()
}

// metricOfDesc returns the metric that a call of NewDesc describes.
func metricOfDesc(args []ast.Expr) (metric, error) {
	m := metric{
		kind: "gauge", name: literal(args[0]), help: literal(args[1]), labels: literals(args[2]),
	}
	if strings.HasSuffix(m.name, "_total") {
		m.kind = "counter"
	}
	return m, m.check()
}

func (m *metric) check() error {
	if m.name == "" || m.help == "" || slices.Contains(m.labels, "") {
		return fmt.Errorf("metric %q: the name, help and labels must be string literals", m.name)
	}
	return nil
}

// literals returns the string literals of a list. If e is not a list, the result has an empty
// string, which metric.check refuses.
func literals(e ast.Expr) []string {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return []string{""}
	}
	var all []string
	for _, e := range list.Elts {
		all = append(all, literal(e))
	}
	return all
}

// literal returns the text of a string literal or of a sum of string literals. For any other
// expression, it returns an empty string.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err == nil {
			return text
		}
	case *ast.BinaryExpr:
		if a, b := literal(e.X), literal(e.Y); e.Op == token.ADD && a != "" && b != "" {
			return a + b
		}
	}
	return ""
}
