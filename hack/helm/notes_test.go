// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

const notesFile = "tagpin/templates/NOTES.txt"

// notes3 returns the notes that Helm 3 prints after an installation or an upgrade.
func notes3(t *testing.T, text string, install bool) string {
	t.Helper()
	chart, err := loader3.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{
		Name: "pins", Namespace: "ns", Revision: 1, IsInstall: install, IsUpgrade: !install,
	}
	all, err := chartutil.ToRenderValues(chart, withImage(values(t, text)), options, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine3.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	return files[notesFile]
}

// notes4 does the same as notes3, with Helm 4.
func notes4(t *testing.T, text string, install bool) string {
	t.Helper()
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	options := common.ReleaseOptions{
		Name: "pins", Namespace: "ns", Revision: 1, IsInstall: install, IsUpgrade: !install,
	}
	all, err := util.ToRenderValues(chart, withImage(values(t, text)), options, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	return files[notesFile]
}

// TestNotes checks what the chart prints after an installation and an upgrade: what the values call
// for, and nothing that they rule out.
func TestNotes(t *testing.T) {
	const (
		begin     = "tagpin is starting in ns."
		verify    = "  helm test pins --namespace ns\n"
		label     = "  kubectl label namespace NAME tagpin.dev/mode=enforce --overwrite\n"
		exclude   = "  kubectl label namespace NAME tagpin.dev/mode=off\n"
		open      = "Any pod that reaches the Service"
		clouds    = "No cloud's identity is used."
		manual    = "deploy/docs/upgrading.md#registration-manual\n"
		none      = "There are no replicas"
		removal   = "deploy/README.md#removing-it\n"
		emergency = "  kubectl delete mutatingwebhookconfiguration zz-tagpin\n"
	)
	for _, tt := range []struct {
		values  string
		install bool
		want    []string
		not     []string
	}{
		{"{}", true, []string{begin, verify, label, open, clouds, removal, emergency}, []string{exclude, manual, none}},
		{"{}", false, []string{label, open, emergency}, []string{begin, verify}},
		{"{namespaces: opt-out}", true, []string{exclude, "have the mode dry-run.", "excludedNamespaces"}, []string{label}},
		{"{keepOnly: true}", false, []string{"tagpin pins nothing new", removal}, []string{label, exclude, "says what to do before"}},
		{"{clientCA: {configMap: ca}}", true, nil, []string{open}},
		{"{apiServer: {cidrs: [192.0.2.0/24]}}", true, nil, []string{open}},
		{"{config: {credentials: {clouds: [google]}}}", true, nil, []string{clouds}},
		{"{replicas: 0}", true, []string{none}, nil},
		{"{replicas: 0, autoscaling: {enabled: true}}", true, nil, []string{none}},
		{
			"{registration: manual, certificates: {mode: cert-manager}}", true,
			[]string{"There is no registration yet.", manual},
			nil,
		},
		{
			"{registration: manual, certificates: {mode: cert-manager}}", false,
			[]string{"The chart does not change the registration.", manual},
			[]string{"no registration yet"},
		},
	} {
		got := notes4(t, tt.values, tt.install)
		if three := notes3(t, tt.values, tt.install); three != got {
			t.Errorf("%s: the notes of Helm 3 differ:\n%s\nfrom those of Helm 4:\n%s", tt.values, three, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s, install %t: the notes are\n%s\nwant %q in them", tt.values, tt.install, got, want)
			}
		}
		for _, not := range append(tt.not, "<no value>", "\n\n\n\n") {
			if strings.Contains(got, not) {
				t.Errorf("%s, install %t: the notes are\n%s\nwant no %q in them", tt.values, tt.install, got, not)
			}
		}
	}
}
