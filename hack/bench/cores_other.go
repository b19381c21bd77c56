// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "time"

// On systems other than Linux nothing is pinned to a core, and processor times are unknown.

func allowedCores() ([]int, error) { return nil, nil }

func moveThread(...int) error { return nil }

func moveThreads(int) error { return nil }

func processorTime(int) (time.Duration, error) { return 0, nil }
