// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the version of a release build, set by the linker. If empty, moduleVersion returns the
// version of the module.
var version string

// build says what the program was built from. With -o json, it is printed as JSON.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // empty in release builds, whose version names it
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/arch
}

const aboutVersion = `Prints the version of tagpin and of Go. With -o json, it also prints the
platform and, if the build recorded it, the commit.`

func newVersionCommand(t terminal) *cobra.Command {
	var output format
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of tagpin and of Go",
		Long:    aboutVersion,
		Example: "  tagpin version -o json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := output.checkFlag(); err != nil {
				return fmt.Errorf("version: %w", err)
			}
			b := thisBuild()
			if output.name == formatJSON {
				return printJSON(t.out, b)
			}
			_, err := fmt.Fprintln(t.out, b)
			return err
		},
	}
	output.register(c.Flags(), "", formatText, formatJSON)
	return c
}

// String returns the line that tagpin version and tagpin --version print.
func (b build) String() string { return "tagpin " + b.Version + " " + b.Go }

func thisBuild() build {
	b := build{
		Version: moduleVersion(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			b.Commit = setting.Value
		}
	}
	return b
}

// moduleVersion returns the version of tagpin.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || version != "" {
		return cmp.Or(version, "unknown")
	}
	return info.Main.Version
}
