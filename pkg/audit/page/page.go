// SPDX-License-Identifier: Apache-2.0

// Package page writes the report of an audit as one HTML page.
//
// The page needs no network: its style and script are in it, and its content security policy allows
// these two alone, by their hashes. Without scripts it shows all that it has, but does not sort.
package page

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/audit"
)

//go:embed page.html
var page string

//go:embed page.css
var style string

//go:embed page.js
var script string

// Policy returns the content security policy of the page.
func Policy() string {
	return fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; "+
		"form-action 'none'", source(style), source(script))
}

// source returns the source of a content security policy that allows text.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// data is what the template shows.
type data struct {
	*audit.Report

	Policy string
	Style  template.CSS
	Script template.JS
	States []audit.State
	Gone   int // containers
}

// Write writes the page.
func Write(w io.Writer, r *audit.Report) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"rank": rank, "explain": explain, "clock": clock, "short": audit.Short,
	}).Parse(page)
	if err != nil {
		return err
	}
	text := bufio.NewWriter(w)
	err = t.Execute(text, data{
		Report: r, Policy: Policy(), States: audit.States(), Gone: r.Summary.States[audit.Gone],
		Style: template.CSS(style), Script: template.JS(script),
	})
	if err != nil {
		return err
	}
	return text.Flush()
}

// rank returns how bad a state is: 0 is the worst.
func rank(s audit.State) int { return slices.Index(audit.States(), s) }

// explain returns what a state means, as a sentence.
func explain(s audit.State) string {
	meaning := s.Meaning()
	return strings.ToUpper(meaning[:1]) + meaning[1:] + "."
}

// clock returns a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
