// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/tools"
)

// nodes is the number of nodes.
const nodes = 2

// Tests says how the tests of a neighbour run.
type Tests struct {
	Name    string   // of the neighbour's folders
	Program string   // the neighbour's name on the page
	Modules []string // the modules whose versions the page names
	// Parts are the names of further modules, in folders of the neighbour's own. Their programs and
	// those of the neighbour's module need different versions of the same dependencies.
	Parts []string
	// Before is called before the tests. It installs the neighbour and starts its programs.
	Before func(context.Context, *Env) error
}

// Env is a cluster with controllers and tagpin, and the programs of a neighbour.
type Env struct {
	*cluster.Cluster
	tools.Neighbour
	Parts   []tools.Neighbour // in the order of [Tests].Parts
	Scratch string            // a folder for files, which is removed at the end

	results   results
	processes []*child.Process
}

// Run builds the programs, starts a cluster, stores it in *env, runs tests and returns the exit
// code. If all tests pass, it compares the rows with those in results.json or, with the flag
// -update, writes results.json.
func (o Tests) Run(tests interface{ Run() int }, env **Env) int {
	update := flag.Bool("update", false, "write results.json")
	flag.Parse()
	part := partial(flag.CommandLine)
	if *update && part != "" {
		fmt.Fprintln(os.Stderr, "-update needs the results of all tests: leave out "+part)
		return 1
	}
	e := &Env{}
	before := func(ctx context.Context, c *cluster.Cluster) error {
		*env = e
		return o.start(ctx, e, c)
	}
	code := cluster.Tests{Before: before, After: e.stop}.Run(tests, &e.Cluster)
	if code != 0 || part != "" {
		return code
	}
	end := e.results.compare
	if *update {
		end = e.results.write
	}
	if err := end("results.json"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// partial returns a flag of go test that leaves out tests, or "" if there is none.
func partial(flags *flag.FlagSet) string {
	for _, name := range []string{"run", "skip", "list"} {
		if flags.Lookup("test."+name).Value.String() != "" {
			return "-" + name
		}
	}
	return ""
}

// start makes e an environment with the programs of a neighbour.
func (o Tests) start(ctx context.Context, e *Env, c *cluster.Cluster) (err error) {
	if e.Neighbour, err = tools.BuildNeighbour(ctx, os.Stderr, o.Name); err != nil {
		return err
	}
	for _, name := range o.Parts {
		part, err := tools.BuildNeighbour(ctx, os.Stderr, o.Name+"/"+name)
		if err != nil {
			return err
		}
		e.Parts = append(e.Parts, part)
	}
	if e.results, err = o.newResults(ctx, e, c); err != nil {
		return err
	}
	e.Scratch = filepath.Join(filepath.Dir(c.Kubeconfig), "neighbour")
	if err := os.Mkdir(e.Scratch, 0o700); err != nil {
		return err
	}
	if err := c.StartControllers(ctx, nodes); err != nil {
		return err
	}
	if err := o.Before(ctx, e); err != nil {
		err = fmt.Errorf("starting %s: %w\n%s", o.Program, err, e.Logs())
		return errors.Join(err, e.stop(ctx, c))
	}
	return nil
}

// stop ends the programs of the neighbour.
func (e *Env) stop(context.Context, *cluster.Cluster) error {
	var errs []error
	for _, p := range e.processes {
		errs = append(errs, p.Kill())
	}
	return errors.Join(errs...)
}

// StartProgram starts one of the neighbour's programs, with the administrator's kubeconfig in its
// environment. It ends with the tests.
func (e *Env) StartProgram(
	name string, variables []string, args ...string,
) (*child.Process, error) {
	return e.StartFile(filepath.Join(e.Dir, name), variables, args...)
}

// StartFile starts another program in the same way. The last part of its path is its name.
func (e *Env) StartFile(path string, variables []string, args ...string) (*child.Process, error) {
	name := filepath.Base(path)
	p := &child.Process{
		Path: path, Args: args,
		Env: slices.Concat(os.Environ(), variables,
			[]string{"KUBECONFIG=" + e.Kubeconfig, "HOME=" + e.Scratch}),
		LogFile: filepath.Join(e.Scratch, fmt.Sprint(name, "-", len(e.processes), ".log")),
	}
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	e.processes = append(e.processes, p)
	return p, nil
}

// InstallCRDs creates the CRDs in files of a module that the programs are built from. The patterns
// are those of [filepath.Glob].
func (e *Env) InstallCRDs(ctx context.Context, module string, patterns ...string) error {
	dir, _, err := e.Source(ctx, module)
	if err != nil {
		return err
	}
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			return errors.Join(fmt.Errorf("%s has no %s", module, pattern), err)
		}
		files = append(files, found...)
	}
	return e.InstallCRDFiles(ctx, files)
}

// FreeAddress returns a free address on loopback.
func FreeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Serves returns nil if a server answers, with whatever status.
func Serves(ctx context.Context, url string) error {
	_, err := status(ctx, url)
	return err
}

// Ready returns nil if a server answers with status 200.
func Ready(ctx context.Context, url string) error {
	code, err := status(ctx, url)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s: status %d", url, code)
	}
	return err
}

// status returns the status of a server's answer.
func status(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// Log returns everything that the processes of a program have written, by the program's name.
func (e *Env) Log(name string) string {
	var all strings.Builder
	for _, p := range e.processes {
		if filepath.Base(p.Path) == name {
			all.WriteString(p.Log())
		}
	}
	return all.String()
}

// maxLog is the maximum length of the end of a log that [Env.Logs] returns.
const maxLog = 8 << 10

// Logs returns the ends of the programs' logs.
func (e *Env) Logs() string {
	var all strings.Builder
	for _, p := range e.processes {
		text := p.Log()
		text = text[max(0, len(text)-maxLog):]
		fmt.Fprintf(&all, "== %s\n%s\n", p.LogFile, text)
	}
	return all.String()
}

// today returns the date as the page has it.
func today() string { return time.Now().UTC().Format(time.DateOnly) }
