// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/pkg/reminder"
)

// observe sets the metrics of the registration. It logs each change of what differs from what this
// server wants, and again now and then what still differs.
func (r *Registrar) observe() {
	fewest, _ := countRules(r.live)
	r.rules.WithLabelValues().Set(float64(fewest))
	r.asWanted.Reset()
	if fewest == 0 { // the metric of rules reports this
		r.differs = reminder.Reminder{}
		return
	}
	var all []string
	for i := range r.wanted {
		want := &r.wanted[i]
		fields := r.differences(want)
		value := 1.0
		if len(fields) > 0 {
			value = 0
			all = append(all, want.Name+": "+strings.Join(fields, ", "))
		}
		r.asWanted.WithLabelValues(want.Name).Set(value)
	}
	switch text := strings.Join(all, "; "); {
	case !r.differs.Due(text):
	case text == "":
		r.Log.Info("the registration is as this server's version and config want it again",
			"name", r.Name)
	default:
		r.Log.Info("the registration is not as this server's version and config want it",
			"name", r.Name, "differs", all,
			"writtenBy", r.live.Annotations[writtenBy], "self", r.self().String())
	}
}

// differences returns the names of the fields of a webhook that are not as wanted, or that it is
// missing.
func (r *Registrar) differences(want *webhook) (fields []string) {
	i := slices.IndexFunc(r.live.Webhooks, func(w webhook) bool { return w.Name == want.Name })
	if i < 0 {
		return []string{"missing"}
	}
	live := &r.live.Webhooks[i]
	a, b := reflect.ValueOf(*live), reflect.ValueOf(asStored(want, live))
	for i := range a.NumField() {
		if !equality.Semantic.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			fields = append(fields, name)
		}
	}
	if leaf := r.Source.Leaf(); leaf != nil && r.verify(leaf, live) != nil {
		fields = append(fields, "caBundle")
	}
	return fields
}

// asStored returns the wanted webhook as the API server stores it, with its defaults. The CA bundle
// is that of the live one, since a bundle may trust further CAs. So is the whole clientConfig if it
// has a URL, because only the manifests can have one.
func asStored(want, live *webhook) webhook {
	stored := *want.DeepCopy()
	if stored.ObjectSelector == nil {
		stored.ObjectSelector = &metav1.LabelSelector{}
	}
	if live.ClientConfig.URL != nil {
		stored.ClientConfig = live.ClientConfig
		return stored
	}
	stored.ClientConfig.CABundle = live.ClientConfig.CABundle
	if s := stored.ClientConfig.Service; s != nil && s.Port == nil {
		port := int32(443)
		s.Port = &port
	}
	return stored
}

// writtenRules is an annotation of the registration. It has a hash of the rules and conditions as a
// server has written them. If it is not the hash of those that are there, somebody else has changed
// them.
const writtenRules = "tagpin.dev/written-rules"

// writtenTimes is an annotation of the registration. It has the number of times that servers have
// written the rules. If it is less than before, somebody has put back an older copy of the
// registration. That copy has the hash of its own rules.
const writtenTimes = "tagpin.dev/written-times"

// timesWritten returns the number in the annotation writtenTimes, or 0 if there is none.
func timesWritten(c *configuration) int64 {
	n, _ := strconv.ParseInt(c.Annotations[writtenTimes], 10, 64) // 0 if it is no number
	return max(n, 0)
}

// hashRules returns a hash of the rules and conditions of tagpin's webhooks.
func hashRules(c *configuration) string {
	type part struct {
		Name       string
		Rules      []admissionregistrationv1.RuleWithOperations
		Conditions []admissionregistrationv1.MatchCondition
	}
	var parts []part
	for _, w := range webhooks(c) {
		parts = append(parts, part{w.Name, w.Rules, w.MatchConditions})
	}
	text, _ := json.Marshal(parts) // these types have no value that JSON can't express
	return fmt.Sprintf("%x", sha256.Sum256(text))[:16]
}
