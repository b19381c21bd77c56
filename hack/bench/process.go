// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// cpu returns the processor time that the server has used so far, including system time. It returns
// 0 on systems without /proc.
func (s server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID))
	if err != nil {
		return 0
	}
	return parseCPU(string(text))
}

// parseCPU returns the sum of utime and stime in proc_pid_stat(5). They are the fields 14 and 15.
// Field 2 is in parentheses and may contain spaces.
func parseCPU(stat string) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		return 0
	}
	return time.Duration(user+system) * tick
}

// profile starts a CPU profile of tagpin-webhook if the flag -cpuprofile is set. finish waits until
// the profile has been written to its file.
func (st *stage) profile(ctx context.Context, s settings) (finish func() error, err error) {
	if s.cpuProfile == "" {
		return func() error { return nil }, nil
	}
	seconds := int(max(1, (time.Duration(3*s.rounds) * s.round).Seconds()))
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", st.tagpin.pprof, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- download(req, s.cpuProfile) }()
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
