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

// metric is one that the server has, as it stands in the source.
type metric struct {
	name, kind, help string
	labels           []string
}

// constructor is a function that makes a metric, or with NewDesc what a collector of our own gives:
// gauges, and counters by their names.
var constructor = regexp.MustCompile(`^New(Counter|Gauge|Histogram|Summary|Desc)(Vec|Func)?$`)

// metrics is the table of all metrics, out of the calls that make them.
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
		return "", errors.New("there are no metrics")
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
		made, ok := call.Fun.(*ast.SelectorExpr)
		if from, isName := nameOf(made); !ok || !isName || from != "prometheus" || !constructor.MatchString(made.Sel.Name) {
			return true
		}
		m, wrong := metricOf(constructor.FindStringSubmatch(made.Sel.Name), call.Args)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, wrong))
		}
		found = append(found, m)
		return true
	})
	return found, err
}

// nameOf is the package in a selector.
func nameOf(s *ast.SelectorExpr) (string, bool) {
	if s == nil {
		return "", false
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// metricOf reads the arguments of a constructor: options, and the labels of a vector.
func metricOf(constructor []string, args []ast.Expr) (metric, error) {
	if constructor[1] == "Desc" {
		return described(args)
	}
	m := metric{kind: strings.ToLower(constructor[1])}
	options, ok := args[0].(*ast.CompositeLit)
	if !ok {
		return m, errors.New("a metric whose options are no literal can't be documented")
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
	if constructor[2] == "Vec" {
		m.labels = literals(args[1])
	}
	return m, m.check()
}

// described reads the arguments of NewDesc.
func described(args []ast.Expr) (metric, error) {
	m := metric{kind: "gauge", name: literal(args[0]), help: literal(args[1]), labels: literals(args[2])}
	if strings.HasSuffix(m.name, "_total") {
		m.kind = "counter"
	}
	return m, m.check()
}

func (m *metric) check() error {
	if m.name == "" || m.help == "" || slices.Contains(m.labels, "") {
		return fmt.Errorf("metric %q: its name, help and labels have to be literals", m.name)
	}
	return nil
}

// literals are those of a list; of what is none, an empty one.
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

// literal is the text of a string literal, or of several that are added; else empty.
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
