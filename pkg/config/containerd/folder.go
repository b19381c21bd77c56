// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const hostsToml = "hosts.toml"

// readFolder reads a certs.d folder.
func (b *builder) readFolder(root string) error {
	if _, err := os.Stat(filepath.Join(root, hostsToml)); err == nil {
		return fmt.Errorf("%s has the %s of one registry: name the folder above it", root, hostsToml)
	}
	folders, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		name := folder.Name()
		info, err := os.Stat(filepath.Join(root, name)) // it may be a link
		switch {
		case err != nil:
			return err
		case !info.IsDir():
			continue
		}
		// Of two folders for one host, containerd uses r.example_5000_ and not r.example:5000
		// (core/remotes/docker/config/config_unix.go, hostPaths).
		if host, port, ok := strings.Cut(name, ":"); ok {
			other := host + "_" + port + "_"
			if _, err := os.Stat(filepath.Join(root, other)); err == nil {
				b.note(name, "containerd uses %s in its place; it is left out", other)
				continue
			}
		}
		if err := b.readHost(root, name); err != nil {
			return err
		}
	}
	return nil
}

// portSuffix is how the name of a folder may have a port: r.example_5000_.
var portSuffix = regexp.MustCompile(`_([0-9]+)_$`)

// readHost reads the folder of one registry.
func (b *builder) readHost(root, name string) error {
	path, from := filepath.Join(root, name, hostsToml), filepath.Join(name, hostsToml)
	host := portSuffix.ReplaceAllString(name, ":$1")
	if name == "_default" {
		host = allHosts
	}
	b.has(host)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b.note(name, "it has no %s; set caFile for its certificates", hostsToml)
		return nil
	}
	if err != nil {
		return err
	}
	file, err := b.parseHosts(from, path, data)
	if err != nil {
		return err
	}
	b.add(from, host, b.endpoints(from, filepath.Dir(path), host, data, file))
	return nil
}
