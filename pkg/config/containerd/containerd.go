// SPDX-License-Identifier: Apache-2.0

// Package containerd translates what the container runtime of a node knows of registries into the
// registries of tagpin's config:
//
//	t, err := containerd.Read("/etc/containerd/certs.d")
//	fmt.Println(string(t.YAML), t.Notes)
//
// It reads containerd's certs.d folder, which has a hosts.toml for each registry
// (github.com/containerd/containerd, docs/hosts.md), and the registries.yaml of k3s and RKE2, from
// which these write such a folder (docs.k3s.io/installation/private-registry).
//
// It uses no network, and reads no certificates or keys. Credentials are never copied.
package containerd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/config"
)

// Translation is a part of tagpin's config.
type Translation struct {
	// YAML is the field registries. It is valid in a config.
	YAML []byte
	// Notes say what could not be translated, in a sentence each.
	Notes []string
}

// Read translates a certs.d folder or a registries.yaml.
func Read(path string) (*Translation, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil { // the config wants absolute paths of files
		return nil, err
	}
	b := &builder{}
	if info.IsDir() {
		err = b.readFolder(path)
	} else {
		err = b.readRegistries(path)
	}
	if err != nil {
		return nil, err
	}
	return b.finish()
}

// finish returns the translation. Its error names what the config refuses.
func (b *builder) finish() (*Translation, error) {
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(map[string][]*entry{"registries": b.entries()}); err != nil {
		return nil, err
	}
	const head = "apiVersion: " + config.APIVersion + "\nkind: " + config.Kind + "\n"
	if _, err := config.Parse([]byte(head + text.String())); err != nil {
		return nil, fmt.Errorf("the translation is not valid: %w", err)
	}
	return &Translation{YAML: text.Bytes(), Notes: b.notes}, nil
}
