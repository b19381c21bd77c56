// SPDX-License-Identifier: Apache-2.0

// Package reminder decides when the state of something that is looked at again and again is logged:
// when it changes, and now and then while something is wrong.
//
//	var said reminder.Reminder
//	for range looks {
//		if err := look(); err != nil && said.Due(err.Error()) {
//			log.Error(err, "look")
//		}
//	}
//
// A line that is written once would be lost when the log is rotated, while what it says still
// holds.
package reminder

import "time"

// Interval is the time after which a text is logged again. Alerts about such a state fire after at
// least 15 minutes, and then the last ten minutes of the log have its reason.
const Interval = 10 * time.Minute

// Reminder is the memory of one state. Its zero value is ready. It is not safe for concurrent use.
type Reminder struct {
	// Text is the text of the last call of Due.
	Text string

	due time.Time // when Due last returned true
}

// Due reports whether a text is to be logged: it differs from that of the last call, or it is not
// empty and was not due for an Interval. An empty text means that all is well.
func (r *Reminder) Due(text string) bool {
	if text == r.Text && (text == "" || time.Since(r.due) < Interval) {
		return false
	}
	r.Text, r.due = text, time.Now()
	return true
}
