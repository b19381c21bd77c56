// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/printable"
)

// State is a state of a container.
type State string

// The states. A container has one of the first three, and any number of the others. The rows
// (others) and (unread) of a report, whose containers are only counted, have none of the first
// three.
const (
	Pinned   State = "pinned"
	Unpinned State = "unpinned"
	Exempt   State = "exempt"
	Drifted  State = "drifted"
	Gone     State = "gone"
	Unknown  State = "unknown"
)

// States returns all states, the worst first.
func States() []State { return []State{Gone, Drifted, Unknown, Unpinned, Exempt, Pinned} }

// Meaning returns what the state says about a container, without a full stop.
func (s State) Meaning() string {
	switch s {
	case Pinned:
		return "its image has a digest"
	case Unpinned:
		return "its image has no digest, so a new pod may run something else"
	case Exempt:
		return "its image has no digest, and is never pulled, or is in exemptImages of the config"
	case Drifted:
		return "its tag names other images now than the one that runs"
	case Gone:
		return "the registry no longer has what runs, so the next node that needs it can't pull it"
	}
	return "one of these could not be found out; the details say why"
}

// Report is the result of an audit. It is written as JSON with these names.
type Report struct {
	Time time.Time `json:"time"`
	// Cluster is the name of the cluster, if there is one.
	Cluster    string      `json:"cluster,omitempty"`
	Summary    Summary     `json:"summary"`
	Namespaces []Namespace `json:"namespaces"`
	// Containers are the findings, the worst first.
	Containers []Finding `json:"containers"`
	// Problems are the parts of the cluster that could not be read, and why.
	Problems []string `json:"problems,omitempty"`

	// Causes say more about the problems, for the operator alone.
	Causes []string `json:"-"`
	// Unread are the namespaces that have problems, if they were listed one by one.
	Unread []string `json:"-"`
}

// Summary has the totals.
type Summary struct {
	Namespaces int `json:"namespaces"`
	Workloads  int `json:"workloads"`
	Pods       int `json:"pods"`
	Containers int `json:"containers"`
	Images     int `json:"images"`
	// Lookups is the number of questions to registries.
	Lookups int `json:"lookups"`
	// LookupFailed is the number of containers that are unknown because a lookup failed, or was not
	// made in time.
	LookupFailed int `json:"lookupFailed"`
	// States has the number of containers in each state.
	States map[State]int `json:"states"`
}

// Namespace has the number of containers of a namespace in each state.
type Namespace struct {
	Name   string        `json:"name"`
	States map[State]int `json:"states"`
}

// Workload is what a pod belongs to at the top: a Deployment, a CronJob, a custom resource, or the
// pod itself.
type Workload struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

// String returns KIND/NAME.
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// Finding is about the containers of a workload that have the same name and run the same image.
type Finding struct {
	Namespace string   `json:"namespace"`
	Workload  Workload `json:"workload"`
	Container string   `json:"container"`
	Type      Type     `json:"type"`
	// Image is the text in the pod spec.
	Image string `json:"image"`
	// RunningDigest is the one that runs. It is empty if it is not known, or if nothing has
	// run.
	RunningDigest digest.Digest `json:"runningDigest,omitempty"`
	// TagDigest is the one that the tag names now. It is empty if it is not known. It may differ from
	// RunningDigest although the tag has not drifted, because one is that of an index.
	TagDigest digest.Digest `json:"tagDigest,omitempty"`
	// Count is the number of these containers: one in each pod. Those of a namespace that are beyond
	// the bounds may be several of one pod.
	Count  int     `json:"count"`
	States []State `json:"states"`
	// Details say why, in sentences without control characters.
	Details []string `json:"details,omitempty"`

	// Causes say why lookups failed, for the operator alone, with Auditor.ForTenants. At most
	// MaxCauses findings of a namespace have them.
	Causes []string `json:"-"`

	forTenants   bool
	lookupFailed bool
}

// MaxCauses is the number of findings of one namespace that have causes. They are for the log.
const MaxCauses = 20

// Has reports whether the finding has a state.
func (f *Finding) Has(s State) bool { return slices.Contains(f.States, s) }

// TagNow returns the digest that the tag names now, if it has drifted.
func (f *Finding) TagNow() digest.Digest {
	if f.Has(Drifted) {
		return f.TagDigest
	}
	return ""
}

// Short returns the beginning of a digest, as people compare it, without the name of the algorithm.
func Short(d digest.Digest) string {
	_, text, _ := strings.Cut(string(d), ":")
	return text[:min(len(text), shortDigest)]
}

const shortDigest = 12

// Worst returns the worst state.
func (f *Finding) Worst() State {
	for _, s := range States() {
		if f.Has(s) {
			return s
		}
	}
	return Unknown
}

// add adds a finding.
func (r *Report) add(f Finding) {
	slices.SortFunc(f.States, func(a, b State) int { return rank(a) - rank(b) })
	f.Image = printable.Text(f.Image)
	r.Containers = append(r.Containers, f)
}

func rank(s State) int { return slices.Index(States(), s) }

// finish sums up and sorts the findings.
func (r *Report) finish() {
	r.Summary.States = map[State]int{}
	namespaces, workloads := map[string]map[State]int{}, map[string]bool{}
	images := map[string]bool{}
	for _, f := range r.Containers {
		images[f.Image] = true
		workloads[f.Namespace+"/"+f.Workload.Group+"/"+f.Workload.String()] = true
		states := namespaces[f.Namespace]
		if states == nil {
			states = map[State]int{}
			namespaces[f.Namespace] = states
		}
		for _, s := range f.States {
			states[s] += f.Count
			r.Summary.States[s] += f.Count
		}
		r.Summary.Containers += f.Count
		if f.lookupFailed {
			r.Summary.LookupFailed += f.Count
		}
	}
	r.Namespaces = []Namespace{}
	for _, name := range slices.Sorted(maps.Keys(namespaces)) {
		r.Namespaces = append(r.Namespaces, Namespace{name, namespaces[name]})
	}
	r.Summary.Namespaces, r.Summary.Workloads = len(namespaces), len(workloads)
	r.Summary.Images = len(images)
	if r.Containers == nil {
		r.Containers = []Finding{}
	}
	slices.SortStableFunc(r.Containers, func(a, b Finding) int {
		return cmp.Compare(rank(a.Worst()), rank(b.Worst()))
	})
}

// WriteJSON writes the report as JSON. Unlike encoding/json, it does not hold the whole text.
func (r *Report) WriteJSON(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	err := json.MarshalWrite(buffered, r, json.Deterministic(true), jsontext.WithIndent("  "),
		jsontext.EscapeForHTML(true), jsontext.AllowInvalidUTF8(true))
	return errors.Join(err, buffered.WriteByte('\n'), buffered.Flush())
}

// Found returns the number of containers that have one of these states.
func (r *Report) Found(states []State) (n int) {
	for _, f := range r.Containers {
		if slices.ContainsFunc(states, f.Has) {
			n += f.Count
		}
	}
	return n
}
