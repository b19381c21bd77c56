// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
)

const (
	// pipeDelay is how long the output of a helper is read after it has ended or was stopped. A child
	// of it, such as an agent that it has started, may hold the output open for ever.
	pipeDelay = 500 * time.Millisecond
	// maxOutput bounds what a helper may say, and maxReason what is repeated of it.
	maxOutput, maxReason = 64 << 10, 200
)

func (q question) program() string { return "docker-credential-" + q.helper }

// failed returns the error of a helper.
func (q question) failed(format string, args ...any) error {
	return &helperError{q, fmt.Sprintf(format, args...)}
}

// helperError says why a helper gave no login, and what to do.
type helperError struct {
	question

	reason string
}

func (e *helperError) Error() string {
	return fmt.Sprintf("no login for %s from %s, which %s names: %s; repair it and log in again, "+
		"or remove it from the file", e.server, e.program(), e.file, e.reason)
}

// run asks a helper. The login is zero if the helper has none, which is no error. When ctx ends,
// the helper is killed.
func run(ctx context.Context, q question) (authn.AuthConfig, error) {
	p := &program{}
	found, err := client.Get(func(args ...string) client.Program {
		p.cmd = exec.CommandContext(ctx, q.program(), args...)
		return p
	}, q.server)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return authn.AuthConfig{}, nil
	case errors.Is(p.err, exec.ErrNotFound):
		return authn.AuthConfig{}, q.failed("it is not installed, or not in PATH")
	case p.err != nil:
		return authn.AuthConfig{}, q.failed("%s (%v)", p.reason(), p.err)
	case err != nil: // which may quote what can't be parsed
		return authn.AuthConfig{}, q.failed("its answer is not JSON")
	}
	auth := authn.AuthConfig{Username: found.Username, Password: found.Secret}
	if auth.Username == "<token>" { // as docker-credential-helpers marks an identity token
		auth = authn.AuthConfig{IdentityToken: found.Secret}
	}
	if keychain.Size(auth) > keychain.MaxCredential {
		return authn.AuthConfig{}, q.failed("its login is too long")
	}
	return auth, nil
}

// program implements client.Program. Unlike that of the client, it ends with a context, is not held
// up by children of the helper, and leaves the terminal alone.
type program struct {
	cmd      *exec.Cmd
	out, say bounded
	err      error
}

// Input sets the input of the helper.
func (p *program) Input(in io.Reader) { p.cmd.Stdin = in }

// Output runs the helper and returns what it has written to its output.
func (p *program) Output() ([]byte, error) {
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = &p.out, &p.say, pipeDelay
	if p.err = p.cmd.Run(); errors.Is(p.err, exec.ErrWaitDelay) {
		p.err = nil // it has ended well, and a child of it lives on
	}
	return p.out.text.Bytes(), p.err
}

// reason returns the first line of what a helper that failed has said: by the protocol, it writes
// its message to the output. A login is never repeated.
func (p *program) reason() string {
	out := strings.TrimSpace(p.out.text.String())
	if strings.HasPrefix(out, "{") {
		out = ""
	}
	line, _, _ := strings.Cut(cmp.Or(out, strings.TrimSpace(p.say.text.String())), "\n")
	line = strings.ToValidUTF8(line[:min(len(line), maxReason)], "")
	return cmp.Or(strings.TrimSpace(line), "it failed")
}

// bounded keeps the first maxOutput bytes that are written to it.
type bounded struct{ text bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	_, _ = b.text.Write(p[:min(len(p), maxOutput-b.text.Len())]) // never fails (package bytes)
	return len(p), nil
}
