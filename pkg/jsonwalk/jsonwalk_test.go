// SPDX-License-Identifier: Apache-2.0

package jsonwalk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

// walk reads the field a, and the strings in the field b, of a JSON object.
func walk(text string) (a string, b []string, err error) {
	dec := jsonwalk.NewDecoder(strings.NewReader(text))
	err = jsonwalk.Object(dec, func(name []byte) error {
		switch string(name) {
		case "a":
			return readText(dec, &a)
		case "b":
			return jsonwalk.Array(dec, func() error {
				var element string
				defer func() { b = append(b, element) }()
				return readText(dec, &element)
			})
		}
		return dec.SkipValue()
	})
	return a, b, err
}

// readText reads the next value into text, if that is a string.
func readText(dec *jsontext.Decoder, text *string) error {
	if dec.PeekKind() != '"' {
		return dec.SkipValue()
	}
	token, err := dec.ReadToken()
	if err == nil {
		*text = token.String()
	}
	return err
}

func TestWalk(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":"x","b":["y","z"]}`:                "x [y z]",
		`{"c":{"a":1},"\u0061":"\u0078","b":[]}`: "x []",
		`{"a":1,"b":["y",2,{"a":"z"}]}`:          " [y  ]",
		`{"a":"x","a":"y","b":{}}`:               "y []",
		"{\"\xff\":1,\"a\":\"x\"}":               "x []",
		`["a"]`:                                  " []",
		`null`:                                   " []",
		`{"a":"x"`:                               "error",
		`{"b":["x"`:                              "error",
		`{"b":[x]}`:                              "error",
		`{"a" "x"}`:                              "error",
		``:                                       "error",
	} {
		a, b, err := walk(text)
		got := fmt.Sprint(a, " ", b)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("walking %s = %q, want %q", text, got, want)
		}
	}
}

// FuzzWalk compares a walk with encoding/json, which also uses the last one of duplicate names.
func FuzzWalk(f *testing.F) {
	f.Add(`{"a":"x","b":["y","z"]}`)
	f.Add(`{"\u0061":"\ud83d\ude00","c":[[{}]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]any
		valid := json.Unmarshal([]byte(text), &want) == nil
		a, _, err := walk(text)
		if !valid || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("walking %q: %v", text, err)
		}
		if s, ok := want["a"].(string); ok && a != s {
			t.Errorf("walking %q: a = %q, want %q", text, a, s)
		}
	})
}

// TestIsDeeper checks that only brackets outside of strings count.
func TestIsDeeper(t *testing.T) {
	for text, want := range map[string]int{
		``: 0, `1`: 0, `"[[["`: 0, `{}`: 1, `[[]]`: 2, `[[],[]]`: 2, `{"a":[{"b":1}],"c":{}}`: 3,
		`{"[\"[":["]]]"]}`: 2, `["\\",[[]]]`: 3, `["\\\"[[[",[]]`: 2, `["]]]]",["\"]]",[]]]`: 3, `[["`: 2, `[["\`: 2, `["a\"`: 1,
	} {
		if jsonwalk.IsDeeper([]byte(text), want) {
			t.Errorf("%s is deeper than %d levels", text, want)
		}
		if want > 0 && !jsonwalk.IsDeeper([]byte(text), want-1) {
			t.Errorf("%s is not deeper than %d levels", text, want-1)
		}
	}
}

// TestLocate checks that Cut returns what ReadValue would, wherever the value is.
func TestLocate(t *testing.T) {
	const text = "{ \"a\" : [1, {\"b\":\"]\"} ,\n\t-1e3,null ,\"x\"] , \"c\":\ntrue}"
	var got, want []string
	for _, walk := range []struct {
		values *[]string
		read   func(*jsontext.Decoder) (jsontext.Value, error)
	}{
		{&want, func(dec *jsontext.Decoder) (jsontext.Value, error) { return dec.ReadValue() }},
		{&got, func(dec *jsontext.Decoder) (jsontext.Value, error) {
			from, to, err := jsonwalk.Locate(dec)
			return jsonwalk.Cut([]byte(text), from, to), err
		}},
	} {
		dec := jsonwalk.NewDecoder(bytes.NewBufferString(text))
		read := func() error {
			value, err := walk.read(dec)
			*walk.values = append(*walk.values, string(value))
			return err
		}
		err := jsonwalk.Object(dec, func(name []byte) error {
			if string(name) == "a" {
				return jsonwalk.Array(dec, read)
			}
			return read()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 6 {
		t.Errorf("Cut: -want +got\n%s", diff)
	}
}
