// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/workload"
)

//go:embed *.yaml.tmpl
var files embed.FS

// write validates data and writes some of the templates with it.
func write(w io.Writer, data interface{ Validate() error }, names ...string) error {
	if err := data.Validate(); err != nil {
		return err
	}
	return execute(w, data, names...)
}

// execute writes some of the templates with data.
func execute(w io.Writer, data any, names ...string) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"indent": indent, "word": word, "words": words, "expressions": expressions,
		"base64":           base64.StdEncoding.EncodeToString,
		"placeholder":      func() string { return workload.Placeholder },
		"containerLists":   func() []string { return workload.ContainerLists[:] },
		"policyReferences": policyReferences, "templatePins": templatePins, "isUser": isUser,
		"modes": modes, "webhook": webhookName, "conditionName": conditionName,
		"builtinRules": new(Registration).Rules,
	}).ParseFS(files, "*.tmpl")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.ExecuteTemplate(w, name, data); err != nil {
			return err
		}
	}
	return nil
}

// words returns the elements of a list as YAML.
func words(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = word(w)
	}
	return strings.Join(quoted, ", ")
}

// word returns a string as YAML. It is quoted if YAML would parse it as something else, such as *,
// off or 1234.
func word(w string) string {
	var parsed []any
	err := yaml.Unmarshal([]byte("["+w+"]"), &parsed)
	if err != nil || len(parsed) != 1 || parsed[0] != w {
		return strconv.Quote(w)
	}
	return w
}

// indent indents all lines of a text but the first, for a block of YAML.
func indent(n int, text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", n))
}

// ServiceYAML returns the namespace and the name of the Service as YAML.
func (r *Registration) ServiceYAML() string {
	service := cmp.Or(r.Service, "tagpin-webhook")
	return fmt.Sprintf("namespace: %s, name: %s", word(r.namespace()), word(service))
}
