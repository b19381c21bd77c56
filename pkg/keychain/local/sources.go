// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
)

// Source is a file with logins.
type Source struct {
	// Path is the path of the file, or the name of the environment variable that has Text.
	Path string
	// Text is the content if it does not come from a file.
	Text string
	// Legacy is true for the format of .dockercfg, which has only the entries of hosts.
	Legacy bool
	// Variable is the environment variable that names the file. Then it must exist.
	Variable string
	// Shared is true if the folder may be another user's. A file there that must not be read is not
	// this user's, so it counts as missing.
	Shared bool
}

// Environment is where the files are looked for.
type Environment struct {
	Get  func(variable string) string
	Home string // "" if it is unknown
	OS   string // as runtime.GOOS
	UID  int
}

// Sources returns the files that docker and podman read, in podman's order. The variable
// DOCKER_AUTH_CONFIG comes first, as in Docker: its logins are meant for this very process. If
// REGISTRY_AUTH_FILE names a file, no other file is read, as in podman.
func Sources(e Environment) []Source {
	var sources []Source
	if text := e.Get("DOCKER_AUTH_CONFIG"); text != "" {
		sources = append(sources, Source{Path: "DOCKER_AUTH_CONFIG", Text: text})
	}
	if path := e.Get("REGISTRY_AUTH_FILE"); path != "" {
		return append(sources, Source{Path: path, Variable: "REGISTRY_AUTH_FILE"})
	}
	add := func(s Source, in string, path ...string) {
		if in == "" {
			return
		}
		s.Path = filepath.Join(append([]string{in}, path...)...)
		if !slices.Contains(sources, s) {
			sources = append(sources, s)
		}
	}
	home := func(path string) string {
		if e.Home == "" {
			return ""
		}
		return filepath.Join(e.Home, path)
	}
	switch runtime := e.Get("XDG_RUNTIME_DIR"); {
	case e.OS != "linux":
		add(Source{}, home(".config"), "containers", "auth.json")
	case runtime != "":
		add(Source{}, runtime, "containers", "auth.json")
	default:
		add(Source{Shared: true}, "/run/containers", strconv.Itoa(e.UID), "auth.json")
	}
	add(Source{}, cmp.Or(e.Get("XDG_CONFIG_HOME"), home(".config")), "containers", "auth.json")
	add(Source{}, cmp.Or(e.Get("DOCKER_CONFIG"), home(".docker")), "config.json")
	add(Source{Legacy: true}, home(".dockercfg"))
	return sources
}
