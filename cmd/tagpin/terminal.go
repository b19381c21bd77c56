// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/printable"
)

// terminal has the standard input and outputs of a command. A part of what is printed comes from
// registries, clusters and files. So out and err escape what is not printable, which leaves JSON
// valid. raw is for a result whose bytes must be the exact ones, such as a file or a manifest: only
// if it is a terminal that shows them, raw escapes them as well.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	raw      io.Writer
	commands io.Writer // is like out, for lines that are commands of GitHub Actions
	messages *messages // is err
	program  string    // how the user calls tagpin: tagpin, or kubectl tagpin
}

func newTerminal(stdin io.Reader, stdout, stderr io.Writer) terminal {
	m := &messages{w: stderr, printable: printable.NewWriter(stderr)}
	m.fd, m.isTerminal = terminalOf(stderr)
	m.isTerminal = m.isTerminal && os.Getenv("TERM") != "dumb"
	results := resultWriter{stdout}
	t := terminal{
		in: stdin, out: printable.NewWriter(results), err: m, raw: results, messages: m,
		commands: printable.NewCommandWriter(results), program: programName,
	}
	if _, ok := terminalOf(stdout); ok {
		t.raw = t.out
	}
	return t
}

// resultWriter writes the result of a command to stdout. All of its errors are a [writeError].
type resultWriter struct{ w io.Writer }

func (r resultWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		err = writeError{fmt.Errorf("writing: %w", err)}
	}
	return n, err
}

// writeError means that a result could not be written, such as to a disk that is full.
type writeError struct{ error }

// terminalOf reports whether a reader or a writer is a terminal, and returns its file descriptor.
func terminalOf(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// complain prints an error to stderr on one line, and a hint in it on a line of its own. Joined
// errors are printed on a line each.
func (t terminal) complain(err error) {
	for _, e := range failure.Split(err) {
		text := printable.Text(e.Error())
		if with, ok := errors.AsType[hintedError](e); ok {
			text += "\nhint: " + printable.Text(with.hint)
		}
		fmt.Fprintf(t.err, "tagpin: %s\n", text)
	}
}

// conclude prints the error of a command that has done what it could, and then a summary. It
// returns the exit code alone.
func (t terminal) conclude(err error, summary string) error {
	exit := exitError{exitUsage, err}
	errors.As(err, &exit)
	if exit.error != nil {
		t.complain(exit.error)
	}
	fmt.Fprintln(t.err, summary)
	if err == nil {
		return nil
	}
	return exitError{code: exit.code}
}

// hintedError is an error with a hint, which is no part of its text: that may come from others, who
// could make up a hint.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// hinted adds a hint to an error, or to the last one of those that it joins.
func hinted(err error, hint string) error {
	all := failure.Split(err)
	last := len(all) - 1
	all[last] = hintedError{all[last], hint}
	if last == 0 {
		return all[0]
	}
	return errors.Join(all...)
}

// status shows how far a command is, in a line that the next status or message replaces. It shows
// nothing if stderr is not a terminal, or a dumb one, which can't erase a line. An empty text only
// removes the line.
func (t terminal) status(text string) { t.messages.status(text) }

// progress shows how many lookups of a command have ended. A nil progress shows nothing.
type progress struct {
	terminal

	what      string // is looked up, in the plural
	mu        sync.Mutex
	done, all int
}

func newProgress(what string, t terminal) *progress { return &progress{what: what, terminal: t} }

// begin adds lookups that are to end.
func (p *progress) begin(n int) { p.add(0, n) }

// end adds a lookup that has ended.
func (p *progress) end() { p.add(1, 0) }

func (p *progress) add(done, all int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.all = p.done+done, p.all+all
	p.show(p.done, p.all)
}

// show shows that done of all lookups have ended.
func (p *progress) show(done, all int) {
	p.status(fmt.Sprintf("looking up %s: %d of %d", p.what, done, all))
}

// messages is the writer of stderr.
type messages struct {
	w, printable io.Writer
	fd           int
	isTerminal   bool // one that can erase a line

	mu    sync.Mutex
	shown bool // a status is shown
}

// eraseLine moves to the beginning of the line and erases it.
const eraseLine = "\r\x1b[K"

// Write implements io.Writer. It removes the status and escapes what is not printable.
func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eraseLocked()
	return m.printable.Write(p)
}

func (m *messages) status(text string) {
	if !m.isTerminal {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eraseLocked()
	text = printable.Text(text)
	if width, _, err := term.GetSize(m.fd); err == nil && utf8.RuneCountInString(text) >= width {
		text = string([]rune(text)[:max(0, width-1)])
	}
	m.shown = text != ""
	_, _ = io.WriteString(m.w, text)
}

func (m *messages) eraseLocked() {
	if m.shown {
		m.shown = false
		_, _ = io.WriteString(m.w, eraseLine)
	}
}
