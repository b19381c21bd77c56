// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The race detector makes these tests ten times slower, and would find nothing: each of them has
// one goroutine.

package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// shapes make files of about size bytes that are large in different ways.
var shapes = map[string]func(size int) string{
	"JSON on one line": func(size int) string {
		return `{"apiVersion":"v1","kind":"List","items":[` + many(size, ",", func(i int) string {
			return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p%d"},`+
				`"spec":{"containers":[{"name":"ä","image":"nginx:%d"}]}}`, i, i)
		}) + `]}`
	},
	"YAML on one line": func(size int) string {
		return `{apiVersion: v1, kind: List, items: [` + many(size, ", ", func(i int) string {
			return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: p%d}, `+
				`spec: {containers: [{name: ä, image: nginx:%d}]}}`, i, i)
		}) + `]}`
	},
	"YAML of many lines": func(size int) string {
		return "apiVersion: v1\nkind: List\nitems:\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("- apiVersion: v1\n  kind: Pod\n  metadata: {name: p%d}\n  # c\n  spec:\n"+
				"    containers:\n    - name: ä\n      image: nginx:%d # d\n", i, i)
		})
	},
	"documents": func(size int) string {
		return many(size, "---\n", func(i int) string {
			return pod + fmt.Sprintf("spec: {containers: [{name: a, image: nginx:%d}]}\n", i)
		})
	},
	"JSON documents": func(size int) string {
		return many(size, "", func(i int) string {
			return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p%d"},`+
				`"spec":{"containers":[{"name":"ä","image":"nginx:%d"}]}}`, i, i)
		})
	},
	"containers": func(size int) string {
		return pod + "spec:\n  containers:\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("  - {name: c%d, image: nginx:%d}\n", i, i)
		})
	},
	"anchors": func(size int) string {
		return "apiVersion: v1\nkind: List\nitems:\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("- {apiVersion: v1, kind: Pod, "+
				"spec: &a%d {containers: &b%d [&c%d {name: a, image: &d%d nginx:%d}]}}\n"+
				"- {apiVersion: v1, kind: Pod, spec: *a%d}\n", i, i, i, i, i, i)
		})
	},
	"block": func(size int) string {
		return pod + "spec:\n  containers:\n  - name: a\n    image: nginx:1\n    command:\n    - |\n" +
			strings.Repeat("      some text\n", size/16)
	},
	"services": func(size int) string {
		return "services:\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("  a%d: {image: b}\n", i)
		})
	},
	"fields of a custom kind": func(size int) string {
		return "apiVersion: a/v1\nkind: A\nspec:\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("  a%dImage: b:1\n", i)
		})
	},
	"repeated keys": func(size int) string {
		return "x: &x\n" + many(size/2, "", func(i int) string {
			return fmt.Sprintf("  a%dImage: b:1\n", i)
		}) + "apiVersion: a/v1\nkind: A\nspec:\n  <<: *x\n" + many(size/2, "", func(i int) string {
			return fmt.Sprintf("  a%dImage: b:1\n", i)
		})
	},
	"values": func(size int) string {
		return many(size, "", func(i int) string { return fmt.Sprintf("a%dimage: b:1\n", i) })
	},
	"patches of a Kustomization": func(size int) string {
		return "patches:\n" + many(size, "", func(int) string {
			return "- patch: |\n    a:\n    image: b\n"
		})
	},
	"mounts": func(size int) string {
		return "FROM a\nRUN" + many(size, "", func(i int) string {
			if i%100 == 99 { // the parser has a limit for a line
				return " \\\n"
			}
			return fmt.Sprintf(" --mount=from=b:%d", i)
		}) + " c\n"
	},
	"mounts in quotes": func(size int) string {
		return "FROM a\nRUN" + many(size, "", func(i int) string {
			if i%100 == 99 { // the parser has a limit for a line
				return " \\\n"
			}
			return fmt.Sprintf(` --mount="from=b:%d"`, i)
		}) + " c\n"
	},
	"merge": func(size int) string {
		return pod + "x: &x\n" + many(size, "", func(i int) string {
			return fmt.Sprintf("  k%d: v\n", i)
		}) + "y:\n  <<: *x\nspec:\n  containers:\n  - name: a\n    image: nginx:1\n"
	},
}

// many joins the results of text until they have size bytes.
func many(size int, separator string, text func(i int) string) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(text(i))
	}
	return b.String()
}

// pinAll pins every reference of a file and asks for the positions, as the tagpin command does.
func pinAll(name string, data []byte) (references int, err error) {
	s, err := manifest.Parse(name, data, nil)
	if err != nil {
		return 0, err
	}
	list := edits(s)
	for _, e := range list {
		e.Object.Position(e.Reference)
	}
	_, err = s.Edit(list)
	return len(list), err
}

// nameOf returns the name of a file with a shape.
func nameOf(shape string) string {
	switch shape {
	case "values":
		return "values.yaml"
	case "patches of a Kustomization":
		return "kustomization.yaml"
	case "mounts", "mounts in quotes":
		return "Dockerfile"
	}
	return "f.yaml"
}

// TestManyKeys parses mappings with many images. If the time grew with the square of the number of
// keys, the test would run into its timeout.
func TestManyKeys(t *testing.T) {
	for _, name := range []string{
		"services", "fields of a custom kind", "values", "mounts", "mounts in quotes",
		"patches of a Kustomization",
	} {
		if _, err := pinAll(nameOf(name), []byte(shapes[name](1<<20))); err != nil {
			t.Errorf("pinAll of %s = %v", name, err)
		}
	}
}

// TestOneLongLine parses a large file on one line, as an API server writes it. If every position
// were counted from the beginning of the line, the test would run into its timeout.
func TestOneLongLine(t *testing.T) {
	data := []byte(shapes["JSON on one line"](2 << 20))
	if n, err := pinAll("f.yaml", data); err != nil || n < 15000 {
		t.Errorf("pinAll of %d bytes = %d references, %v, want at least 15,000", len(data), n, err)
	}
}

// BenchmarkGrowth shows that the time per byte does not grow with the size of a file.
func BenchmarkGrowth(b *testing.B) {
	for name, shape := range shapes {
		for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				data := []byte(shape(size))
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := pinAll(nameOf(name), data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestSharedByUnknownKinds parses objects whose kind is not known, and which all have the same
// large value. The search for their images is bounded like the objects of known kinds.
func TestSharedByUnknownKinds(t *testing.T) {
	const size = 200 << 10
	data := "apiVersion: v1\nkind: List\nitems:\n- {kind: A, apiVersion: b/v1, x: &x [" +
		strings.Repeat("a, ", size/3) + "]}\n" + many(size, "", func(int) string {
		return "- {kind: A, apiVersion: b/v1, x: [*x]}\n"
	})
	_, err := manifest.Parse("f.yaml", []byte(data), nil)
	if err == nil || !strings.Contains(err.Error(), "needs too much memory") {
		t.Errorf("Parse = %v, want an error that the file needs too much memory", err)
	}
}

// TestManyValues parses a file of values with many documents that look like something else. If each
// of them were compared with all before it, the test would run into its timeout.
func TestManyValues(t *testing.T) {
	data := []byte(shapes["documents"](2 << 20))
	f, err := manifest.Parse("values.yaml", data, nil)
	if err != nil || len(f.Objects) < 10000 {
		t.Errorf("Parse = %v, want many objects", err)
	}
}

// TestManyRegistries parses a mapping of values with many registries and many images whose names
// begin with them. If each image were compared with all registries, the test would run into its
// timeout. A key twice is an error, but only after the search for images.
func TestManyRegistries(t *testing.T) {
	const size = 2 << 20
	data := many(size, "", func(int) string { return "registry: q\n" }) +
		many(size, "", func(int) string { return "aimage: q/b:1\n" })
	_, err := manifest.Parse("values.yaml", []byte(data), nil)
	if err == nil || !strings.Contains(err.Error(), "duplicate key") {
		t.Errorf("Parse = %v, want an error about a duplicate key", err)
	}
}

// TestLargeValueRepeated parses files of about 1 MiB in which aliases repeat a large value. If it
// were looked at or copied for each alias, the test would run into its timeout, or out of memory.
func TestLargeValueRepeated(t *testing.T) {
	t.Parallel()
	const size = 1 << 19
	long := strings.Repeat("x", size)
	again := func(line string) string { return many(size, "", func(int) string { return line }) }
	keys := func(line string) string {
		return many(size, "", func(i int) string { return fmt.Sprintf(line, i) })
	}
	for name, tt := range map[string]struct{ file, data string }{
		"tags":       {"kustomization.yaml", "x: &t '1" + long + "'\nimages:\n" + again("- {name: a, newTag: *t}\n")},
		"patches":    {"kustomization.yaml", "x: &a |\n  image: a:1\n" + again("  b\n") + "patches:\n" + again("- *a\n")},
		"resources":  {"kustomization.yaml", "x: &p " + strings.Repeat("aaa/", size/4) + "\nresources:\n" + again("- *p\n")},
		"variables":  {"values.yaml", "a: &a '$" + long + "'\nb:\n" + again("- image: *a\n")},
		"registries": {"values.yaml", "a: &a q" + long + "\nglobal: {imageRegistry: *a}\nb:\n" + again("- image: {repository: b, tag: *a}\n")},
		"likely images": {
			"f.yaml", "apiVersion: a/v1\nkind: A\nspec:\n  x: &a b" + long + "\n  y:\n" + again("  - image: *a\n"),
		},
		"parameters": {"f.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Application\nx: &a b" + long +
			"\nspec:\n  source:\n    helm:\n      parameters:\n" + again("      - {name: image, value: *a}\n")},
		"kinds": {"f.yaml", "apiVersion: v1\nkind: List\nx: &a b" + long + "\nitems:\n" +
			again("- {apiVersion: a/v1, kind: *a, spec: {image: b:1}}\n")},
		"services": {"compose.yaml", "x: &a |\n  FROM a\n" + again("  b\n") + "services:\n" +
			keys("  a%d: {build: {dockerfile_inline: *a}}\n")},
		"mappings of services": {"compose.yaml", "x: &x\n" + keys("  k%d: v\n") + "  image: a\nservices:\n" +
			keys("  a%d: *x\n")},
		"images": {"kustomization.yaml", "images:\n- &x\n  NAME: a\n" + keys("  k%d: v\n") + again("- *x\n")},
		"operations": {"f.yaml", "- &x {op: add, path: /spec/image, value: a:1,\n" + keys("   k%d: v,\n") +
			"  }\n" + again("- *x\n")},
	} {
		_, err := manifest.Parse(tt.file, []byte(tt.data), nil)
		if !errors.Is(err, manifest.ErrMayHaveImages) || !strings.Contains(fmt.Sprint(err), "needs too much memory") {
			t.Errorf("Parse of %s = %.200v, want an error that the file needs too much memory", name, err)
		}
	}
}

// TestLongComment parses a file in which aliases repeat an image whose text is far behind its
// anchor. If it were searched for each alias, the test would run into its timeout.
func TestLongComment(t *testing.T) {
	t.Parallel()
	const size = 1 << 19
	data := "aimage: &a !!str\n  #" + strings.Repeat(" x", size/2) + "\n  nginx:1.25\nb:\n" +
		many(size, "", func(int) string { return "- image: *a\n" })
	if n, err := pinAll("values.yaml", []byte(data)); err != nil || n < 30000 {
		t.Errorf("pinAll = %d references, %v, want many", n, err)
	}
}

// TestLongPath parses files with a very long key above many images. A copy of the whole path for
// each image would need memory that grows with the square of the size of the file.
func TestLongPath(t *testing.T) {
	images := "? " + strings.Repeat("k", 1<<16) + "\n: {" + many(1<<16, ", ", func(i int) string {
		return fmt.Sprintf("a%dImage: b:1", i)
	}) + "}\n"
	for name, data := range map[string]string{
		"values.yaml": images, "f.yaml": "apiVersion: a/v1\nkind: A\n" + images,
	} {
		_, err := manifest.Parse(name, []byte(data), nil)
		if !errors.Is(err, manifest.ErrMayHaveImages) ||
			!strings.Contains(err.Error(), "its keys are too long") {
			t.Errorf("Parse of %s = %.200v, want an error about long keys", name, err)
		}
	}
}
