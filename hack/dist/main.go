// SPDX-License-Identifier: Apache-2.0

// Command dist packs the command-line tool for people: an archive for each platform, their
// checksums, and krew's manifest of the kubectl plugin.
//
//	make dist VERSION=v1.2.3
//
// The same binaries always give the same archives, because no time and no user is in them. The
// archives are not signed, and nothing is uploaded.
//
// GoReleaser is not used: it would add hundreds of modules to save the lines that write an archive.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// settings are the values of the flags.
type settings struct {
	version, binaries, output, manifest string
}

// run packs the binaries. The working directory must be the root of the repository.
func run(args []string, stderr io.Writer) int {
	var s settings
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.version, "version", "",
		"`version` of the binaries; make dist takes it from git")
	flags.StringVar(&s.binaries, "binaries", "bin/dist/binaries",
		"`folder` with a folder OS_ARCH of each platform, which has its binary")
	flags.StringVar(&s.output, "output", "bin/dist", "`folder` to write to")
	flags.StringVar(&s.manifest, "manifest", "deploy/krew/tagpin.yaml",
		"`file` that is the template of krew's manifest")
	if flags.Parse(args) != nil {
		return 2
	}
	if err := s.pack(stderr); err != nil {
		fmt.Fprintln(stderr, "dist:", err)
		return 1
	}
	return 0
}

// file is a file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

// pack writes the archives, checksums.txt and, for a version that is a release, krew's manifest.
func (s settings) pack(progress io.Writer) error {
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	folders, err := os.ReadDir(s.binaries)
	if err != nil {
		return err
	}
	sums := map[string]string{} // from the name of an archive to its checksum
	for _, folder := range folders {
		system, _, _ := strings.Cut(folder.Name(), "_")
		binary, name, write := "tagpin", "tagpin_"+folder.Name()+".tar.gz", writeTar
		if system == "windows" {
			binary, name, write = "tagpin.exe", "tagpin_"+folder.Name()+".zip", writeZip
		}
		data, err := os.ReadFile(filepath.Join(s.binaries, folder.Name(), binary))
		if err != nil {
			return err
		}
		var archive bytes.Buffer
		files := []file{{"LICENSE", 0o644, license}, {binary, 0o755, data}}
		if err := write(&archive, files); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.save(name, archive.Bytes()); err != nil {
			return err
		}
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(archive.Bytes()))
	}
	if len(sums) == 0 {
		return fmt.Errorf("%s has no binaries; run make dist", s.binaries)
	}
	if err := s.save("checksums.txt", checksums(sums)); err != nil {
		return err
	}
	fmt.Fprintf(progress, "wrote %d archives and checksums.txt to %s\n", len(sums), s.output)
	return s.writeManifest(sums, progress)
}

func (s settings) save(name string, data []byte) error {
	return os.WriteFile(filepath.Join(s.output, name), data, 0o644) //nolint:gosec // not secret
}

// checksums returns the checksums in the format that sha256sum --check reads.
func checksums(sums map[string]string) []byte {
	var lines []string
	for name, sum := range sums {
		lines = append(lines, sum+"  "+name+"\n")
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return []byte(strings.Join(lines, ""))
}

// release matches the versions that krew accepts.
var release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// writeManifest renders the template of krew's manifest. The template has the functions and the
// field of krew-release-bot's, so that a project can use that as well.
func (s settings) writeManifest(sums map[string]string, progress io.Writer) error {
	if !release.MatchString(s.version) {
		fmt.Fprintf(progress, "wrote no manifest for krew: %q is no version such as v1.2.3\n", s.version)
		return nil
	}
	text, err := os.ReadFile(s.manifest)
	if err != nil {
		return err
	}
	addURIAndSha := func(uri, tag string) (string, error) {
		uri = strings.ReplaceAll(uri, "{{ .TagName }}", tag)
		sum, ok := sums[path.Base(uri)]
		if !ok {
			return "", errors.New("there is no archive " + path.Base(uri))
		}
		return "uri: " + uri + "\n    sha256: " + sum, nil
	}
	parsed, err := template.New(filepath.Base(s.manifest)).
		Funcs(template.FuncMap{"addURIAndSha": addURIAndSha}).Parse(string(text))
	if err != nil {
		return err
	}
	var manifest bytes.Buffer
	if err := parsed.Execute(&manifest, struct{ TagName string }{s.version}); err != nil {
		return err
	}
	return s.save("tagpin.yaml", manifest.Bytes())
}

func writeTar(w io.Writer, files []file) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Format: tar.FormatUSTAR,
			ModTime: time.Unix(0, 0),
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func writeZip(w io.Writer, files []file) error {
	archive := zip.NewWriter(w)
	for _, f := range files {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.data); err != nil {
			return err
		}
	}
	return archive.Close()
}
