// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"path/filepath"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Candidate reports whether a file of this name can have references. Others need not be read.
func Candidate(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return IsKustomizationName(path) || isDockerfile(path)
}

// separated matches a file that begins with the separator of documents, after comments.
var separated = regexp.MustCompile(`^([ \t]*(#[^\r\n]*)?\r?\n)*---([ \t\r\n]|$)`)

// directive matches a line with a directive. YAML allows one after the end of a document alone, but
// kubectl would read it as a document.
var directive = regexp.MustCompile(`(?m)^%`)

// Part returns data, the content of a file, as a part of a stream of YAML documents. The result
// begins with a separator and ends with a line end. kubectl takes a stream apart at its separators,
// so Part returns an error if the documents would not be the same ones there: of a Dockerfile, of
// JSON values without separators, of a block text without a line end, and of a file with a
// directive, such as %YAML.
func Part(name string, data []byte) ([]byte, error) {
	alone := &File{Name: name, data: data, lines: newLineIndex(data)}
	if isDockerfile(name) {
		return nil, errors.New("it is a Dockerfile")
	}
	if directive.Match(data) {
		return nil, errors.New("it has a YAML directive")
	}
	if err := alone.parse(); err != nil {
		return nil, err
	}
	part := bytes.TrimPrefix(data, bom)
	if !separated.Match(part) {
		part = slices.Concat([]byte("---\n"), part)
	}
	if !bytes.HasSuffix(part, []byte("\n")) {
		part = append(part, '\n')
	}
	inStream := &File{Name: name, data: part, lines: newLineIndex(part)}
	if err := inStream.parseYAML(part); err != nil {
		return nil, errors.New("its text has another meaning there")
	}
	before, after := notNull(alone.documents), notNull(inStream.documents)
	c := comparison{seen: map[*yaml.Node]bool{}}
	if len(before) != len(after) {
		return nil, errors.New("it has other documents there")
	}
	for i, root := range before {
		if c.difference(root, after[i]) != nil {
			return nil, errors.New("its text has another meaning there")
		}
	}
	return part, nil
}

// notNull returns the documents that have content.
func notNull(documents []*yaml.Node) []*yaml.Node {
	return slices.DeleteFunc(slices.Clone(documents), func(n *yaml.Node) bool {
		return kindOf(n) == 'n'
	})
}
