// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxMetrics bounds how much of an answer is read.
const maxMetrics = 16 << 20

// MetricsPage returns all metrics of tagpin as text.
func (t *Tagpin) MetricsPage(ctx context.Context) (string, error) { return get(ctx, t.MetricsURL) }

// Metric sums the series of a metric whose labels contain all of the given texts, such as
// `mode="enforce"`.
func (t *Tagpin) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	body, err := t.MetricsPage(ctx)
	if err != nil {
		return 0, err
	}
	var sum float64
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		base, set, _ := strings.Cut(series, "{")
		if base != name || !containsAll(set, labels) {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", series, err)
		}
		sum += f
	}
	return sum, nil
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// get returns the body of an answer with status 200.
func get(ctx context.Context, url string) (body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxMetrics))
	return string(data), err
}
