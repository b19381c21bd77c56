// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/workload"
)

const aboutFiles = `Reads stdin for - and if there is no argument. For a folder, it reads each file in the folder and in
its subfolders that can have images. These are Kubernetes manifests with several documents and
lists, the images of Kustomizations, JSON patches, values of Helm charts (values.yaml,
values-prod.yaml, prod.values.yaml, HelmReleases of Flux, Applications and ApplicationSets of Argo
CD), compose files, workflows and actions of GitHub, and Dockerfiles. Hidden folders are left out,
except .github, and so are links to folders, and files with {{ in the templates of a chart. A file
in the folder that a Kustomization names is read all the same, whatever its name is; one of a
configMapGenerator or a secretGenerator is read if its key is the name of values, as in
values.yaml=podinfo.yaml. In values, these are images: a text or a mapping with a repository, if its
key ends with image; and a mapping with a repository and a tag anywhere below a key that ends with
image or images. What is not in the folder is not read: images that a chart chooses itself, remote
bases, and bases such as ../../base. A message names the first one of each. A link to a file
outside of the folder, or of its Git work tree, and a file of more than 16 MiB are errors unless an
argument names them too. A Kubernetes object that has a key twice where images are looked for is
always an error. The comment "# tagpin:ignore" on the line of an image, or on a line of its own
above it, makes tagpin ignore the image.`

// source is a file that is read.
type source struct {
	fileName            // one of names
	names    []fileName // all by which it was found
	others   []*source  // the same file by names for which it is in another format
	named    bool       // an argument names the file itself, and not a folder above it
	data     []byte
	file     *manifest.File
	err      error
	results  []pin.Result // of the lookups for each object of file
	edits    []manifest.Edit
	images   []string // of the edits: the canonical pins
	pinned   []byte   // data with the edits
	written  bool     // pinned is what the file has now
	suspect  bool     // it can't be parsed, and other programs may find images in it
}

// fileName is a name of a file.
type fileName struct {
	path string // empty for stdin
	as   string // decides about the format; it is the path, unless programs read the file otherwise
}

// fileFlags are the flags of all commands that read files.
type fileFlags struct {
	command   string // the name of the command
	gate      bool   // a file that may have images must not pass because it can't be parsed
	exclude   []string
	allowNone bool

	unnamed       bool            // there is no argument
	used          map[string]bool // the globs of exclude that have matched
	argumentPaths map[string]bool // the arguments, as absolute paths
}

func (f *fileFlags) register(command string, flags *pflag.FlagSet) {
	f.command = command
	flags.StringArrayVar(&f.exclude, "exclude", nil,
		"leave out files and folders that match the `glob`, such as \"*-test.yaml\", charts or "+
			"\"dev/**/*.yaml\"; a glob with a slash that is not its last character is compared with the "+
			"path: both as it is given and below the folder that is given; any other glob is compared with "+
			"the name; may be repeated")
	flags.BoolVar(&f.allowNone, "allow-none", false,
		"succeed if a file, a folder or stdin has nothing that tagpin knows, such as in a Git hook; a "+
			"file that is named and can't be parsed, such as JSON with comments, is then skipped with a "+
			"message, unless other programs may find images in it")
}

// arguments returns the arguments of the command, which reads stdin if there is none. It returns an
// error if that would wait for somebody to type a file.
func (f *fileFlags) arguments(args []string, t terminal) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	if _, ok := terminalOf(t.in); ok {
		return nil, fmt.Errorf("%s: name a file or a folder, or - for stdin; see %s %s --help",
			f.command, t.program, f.command)
	}
	f.unnamed = true
	return []string{"-"}, nil
}

// checkFlags returns an error for each mistake in the flags.
func (f *fileFlags) checkFlags() error {
	var errs []error
	for _, glob := range f.exclude {
		if !doublestar.ValidatePattern(glob) {
			errs = append(errs, fmt.Errorf("%s: --exclude %q: the glob is not valid", f.command, glob))
		}
	}
	return errors.Join(errs...)
}

// sources are the files that the arguments of a command name.
type sources struct {
	arguments []argument
	all       []*source // each file once, in the order of the arguments

	// These are set by parse.
	files   []*source // those that can have images
	broken  []error   // of files that are named, which must be valid
	unread  []error   // of files and folders in folders that could not be read
	unknown []error   // one for each argument that has nothing that tagpin knows
	skipped int       // files that could not be parsed and need not be
	dropped int       // files that are not printed, because they are not for kubectl

	outside outside // set by find
}

// argument is an argument of a command, and the files that it names.
type argument struct {
	text  string
	files []*source
}

// parse reads and parses the files, several at a time, but those together have at most maxSize, and
// a larger one is alone. It calls parsed, if it is not nil, with each valid file as soon as that is
// parsed, from several goroutines.
func (f *fileFlags) parse(
	ctx context.Context, s *sources, table *workload.Table, parsed func(*source), t terminal,
) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	together := semaphore.NewWeighted(maxSize)
	for _, file := range s.all {
		group.Go(func() error {
			size := file.size()
			if err := together.Acquire(ctx, size); err != nil {
				file.err = cmp.Or(file.err, err)
				return nil // the errors are in the files
			}
			defer together.Release(size)
			if file.err = cmp.Or(file.err, ctx.Err()); file.err == nil {
				f.parseFile(ctx, file, table, parsed, t)
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return // the command ends, so what was not read is no finding
	}
	for _, file := range s.all {
		f.add(s, file, t)
		if f.gate { // another program may read the file by its other name
			s.files = append(s.files, file.others...)
		}
	}
	f.complainElsewhere(s, t)
	for _, a := range s.arguments {
		s.unknown = append(s.unknown, f.unknown(a.text, a.files, t.program)...)
	}
	if len(s.unknown)+len(s.broken)+len(s.unread)+len(s.files)+s.skipped == 0 {
		s.unknown = append(s.unknown, fmt.Errorf("%s: --exclude leaves out every file", f.command))
	}
}

func (f *fileFlags) parseFile(
	ctx context.Context, file *source, table *workload.Table, parsed func(*source), t terminal,
) {
	file.err = file.catch(t, func() error {
		err := file.parse(ctx, t.program+" "+f.command, table)
		if err == nil && parsed != nil {
			parsed(file)
		}
		return err
	})
	file.suspect = f.gate && !file.named && errors.Is(file.err, manifest.ErrMayHaveImages) &&
		!errors.Is(file.err, manifest.ErrDuplicateKey) // which is an error without this
	file.forget()
}

// allows reports whether a file that is named, but can't be parsed, is skipped: a Git hook names
// all files that have changed. What is piped to tagpin is meant for it, so stdin is not skipped.
func (f *fileFlags) allows(file *source) bool {
	return f.allowNone && file.path != "" && !mayHaveImages(file.err) && !file.mayHideImages()
}

// forget drops the content of a file in a folder that has nothing that tagpin knows. Most files in
// a folder are of this kind, and the tree of one needs much more memory than the file.
func (s *source) forget() {
	if s.named || s.err == nil && s.file.Recognized() {
		return
	}
	s.data, s.file = nil, &manifest.File{Name: s.path}
}

// catch calls do and returns its error. If do panics because of a bug, that is an error of the file
// alone.
func (s *source) catch(t terminal, do func() error) error {
	name := cmp.Or(s.path, "stdin")
	err := bugs(t.complain).Catch("reading "+name, do)
	if _, caught := errors.AsType[*panics.Error](err); caught {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// mayHideImages reports whether the file can have images and could not be read. Files in folders
// that are no valid YAML may be for other programs, but one that has a Kubernetes object with a key
// twice is not, and one that makes tagpin panic need not be.
func (s *source) mayHideImages() bool {
	_, unreadable := errors.AsType[*fs.PathError](s.err)
	_, caught := errors.AsType[*panics.Error](s.err)
	return unreadable || caught || errors.Is(s.err, manifest.ErrDuplicateKey) || s.suspect
}

// unknown returns an error if none of the files of an argument has anything that tagpin knows. A
// file that can't be read has an error of its own, and a file that is named may be excluded.
func (f *fileFlags) unknown(arg string, files []*source, program string) []error {
	for _, file := range files {
		if file.err == nil && file.file.Recognized() ||
			file.err != nil && (file.named || file.mayHideImages()) {
			return nil
		}
	}
	why := "tagpin knows no images in a file of this name and content"
	switch {
	case arg == "-" && f.unnamed && len(bytes.TrimSpace(files[0].data)) == 0:
		return []error{noInputError(fmt.Sprintf("no file was named and stdin is empty; name a file or a "+
			"folder, or look at the errors of the program before tagpin in the pipe; see %s %s --help",
			program, f.command))}
	case arg == "-" && len(bytes.TrimSpace(files[0].data)) == 0:
		return []error{errNoInput}
	case arg == "-":
		arg, why = "stdin", "tagpin knows no images in a text like this"
	case len(files) == 1 && files[0].named:
	default:
		if !isFolder(arg) {
			return nil
		}
		why = "no file in this folder has anything that tagpin knows"
		if len(f.exclude) > 0 {
			why += ", apart from what --exclude leaves out"
		}
	}
	return []error{fmt.Errorf("%s: %s; see %s %s --help", arg, why, program, f.command)}
}

// add adds a file that was read. Most files in a folder can have no images.
func (f *fileFlags) add(s *sources, file *source, t terminal) {
	switch {
	case file.err != nil && file.named && !f.allows(file):
		s.broken = append(s.broken, file.err)
	case file.suspect:
		s.unread = append(s.unread, fmt.Errorf("%w; other programs may find images in it, so it is not "+
			"skipped: correct it, render it if it is a template, or leave it out with --exclude", file.err))
	case file.mayHideImages():
		s.unread = append(s.unread, file.err)
	case file.err != nil:
		s.skipped++
		t.complain(fmt.Errorf("%w; the file was skipped", file.err))
	case file.file.Recognized(), file.named:
		s.files = append(s.files, file)
	}
}
