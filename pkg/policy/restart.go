// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strconv"
	"strings"
	"time"
)

// older reports whether a restart was made before another one. It is false if the time of one of
// them is unknown. Only an undo brings back an older restart without a record of it: one from
// before tagpin was installed or its annotation was configured, or one that was made in keep mode.
func older(restartedAt, than string) bool {
	a, ok := restartTime(restartedAt)
	if !ok {
		return false
	}
	b, ok := restartTime(than)
	return ok && a.Before(b)
}

// restartTime parses the time in a marker. Its formats are those that tools are known to write and
// that have a time zone.
func restartTime(marker string) (t time.Time, ok bool) {
	if t, ok = unixTime(marker); ok {
		return t, true
	}
	for _, layout := range []string{
		time.RFC3339,                   // kubectl, Rancher
		time.RFC1123Z,                  // date -R
		"Mon Jan _2 15:04:05 UTC 2006", // date, in a container
	} {
		if t, err := time.Parse(layout, marker); err == nil {
			return t, true
		}
	}
	return goTime(marker)
}

// goTime parses the result of Go's time.Time.String, which Keel and the now function of Helm write.
// After the offset it has the name of the zone and a reading of the monotonic clock, which are not
// needed.
func goTime(marker string) (time.Time, bool) {
	fields := strings.Fields(marker)
	if len(fields) < 3 {
		return time.Time{}, false
	}
	t, err := time.Parse("2006-01-02 15:04:05 -0700", strings.Join(fields[:3], " "))
	return t, err == nil
}

// unixTime parses a time since 1970 in seconds, milliseconds, microseconds or nanoseconds. The
// number of digits tells these apart until the year 2286.
func unixTime(marker string) (t time.Time, ok bool) {
	n, err := strconv.ParseUint(marker, 10, 63)
	if err != nil {
		return t, false
	}
	switch i := int64(n); len(marker) {
	case 10:
		return time.Unix(i, 0), true
	case 13:
		return time.UnixMilli(i), true
	case 16:
		return time.UnixMicro(i), true
	case 19:
		return time.Unix(0, i), true
	}
	return t, false
}
