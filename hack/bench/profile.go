// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// profile starts a CPU profile of tagpin-webhook if the flag -cpuprofile is set. finish waits until
// the profile has been written to its file.
func (st *stage) profile(ctx context.Context) (finish func() error, err error) {
	if st.cpuProfile == "" {
		return func() error { return nil }, nil
	}
	seconds := int(max(1, (time.Duration(4*st.rounds) * st.duration).Seconds()))
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", st.tagpin.pprof, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- download(req, st.cpuProfile) }()
	return func() error { return <-done }, nil
}

// download writes the body of a response to a file.
func download(req *http.Request, file string) (err error) {
	resp, err := http.DefaultClient.Do(req) // the context of req limits the time
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %.300s", resp.Status, body)
	}
	return os.WriteFile(file, body, 0o644) //nolint:gosec // the file is not secret
}
