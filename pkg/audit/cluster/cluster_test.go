// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
)

// apiServer is an API server that lists pods, ReplicaSets and Jobs in pages.
type apiServer struct {
	pods    int                        // how many pods it has
	pod     func(i int) any            // a pod
	parents map[string][]metav1.Object // by resource
	// answer, if it returns true, has answered a request.
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []string
	largest  int // page
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if s.answer != nil && s.answer(w, r) {
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	_, resource, _ := strings.Cut(filepath.Base(r.URL.Path), " ")
	resource = filepath.Base(r.URL.Path) + resource
	all := len(s.parents[resource])
	if resource == "pods" {
		all = s.pods
	}
	until := min(from+limit, all)
	next := ""
	if until < all {
		next = strconv.Itoa(until)
	}
	s.mu.Lock()
	s.largest = max(s.largest, until-from)
	s.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"kind":"List","metadata":{"continue":%q},"items":[`, next)
	for i := from; i < until; i++ {
		if i > from {
			_, _ = w.Write([]byte(","))
		}
		var o any
		if resource == "pods" {
			o = s.pod(i)
		} else {
			o = map[string]any{"metadata": s.parents[resource][i]}
		}
		text, _ := json.Marshal(o)
		_, _ = w.Write(text)
	}
	_, _ = w.Write([]byte("]}"))
}

// open returns a client for the API server, by a kubeconfig.
func (s *apiServer) open(t testing.TB) rest.Interface {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	opened, err := cluster.Connection{Kubeconfig: kubeconfig(t, server.URL)}.Open()
	if err != nil || opened.Name != "blue" || opened.InPod {
		t.Fatalf("Open = %+v, %v, want the cluster blue of a kubeconfig", opened, err)
	}
	return opened.Client
}

// kubeconfig writes a kubeconfig and returns its path.
func kubeconfig(t testing.TB, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\n"+
		"clusters: [{name: blue, cluster: {server: %q}}]\n"+
		"contexts: [{name: c, context: {cluster: blue, user: u}}]\nusers: [{name: u, user: {}}]\n", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func owner(apiVersion, kind, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "no-controller", UID: "x"},
		{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(kind + name), Controller: &yes},
	}
}

// status returns an answer that is an error.
func status(code int, reason metav1.StatusReason, next string) string {
	text, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		ListMeta: metav1.ListMeta{Continue: next}, Reason: reason, Code: int32(code), Message: "canary",
	})
	return string(text)
}

// rows returns the workloads and containers of a report without a registry.
func rows(t *testing.T, c *audit.Collector) (rows []string) {
	t.Helper()
	report, err := (&audit.Auditor{Images: noImages(t)}).Report(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Containers {
		rows = append(rows, fmt.Sprintf("%s %s %s %s %s x%d", f.Namespace, f.Workload, f.Type, f.Container, f.Image, f.Count))
	}
	slices.Sort(rows)
	return rows
}

// TestRead checks what is read of each pod, and which workload it belongs to.
func TestRead(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	full := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p0", Namespace: "ns", OwnerReferences: owner("apps/v1", "ReplicaSet", "web-1")},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "!init"}},
			Containers:     []corev1.Container{{Name: "main", Image: "!main"}, {Name: "waits", Image: "!waits"}},
			EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "!debug"}},
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "past", Image: "!past"}},
			},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "!data"}}},
				{Name: "rbd", VolumeSource: corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{RBDImage: "none"}}},
			},
		},
		Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "init", State: ended}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: "main", State: running}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{
				{Name: "debug", State: running}, {Name: "past", State: ended},
			},
		},
	}
	plain := func(name string, owners []metav1.OwnerReference) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", OwnerReferences: owners},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "!c"}}},
		}
	}
	pods := []corev1.Pod{
		full, plain("cron", owner("batch/v1", "Job", "nightly-1")), plain("job", owner("batch/v1", "Job", "alone")),
		plain("set", owner("kruise.io/v1", "CloneSet", "clone")), plain("static", owner("v1", "Node", "n1")), plain("bare", nil),
		plain("train", owner("batch/v1", "Job", "train-0")),
	}
	meta := func(uid string, owners []metav1.OwnerReference) metav1.Object {
		return &metav1.ObjectMeta{UID: types.UID(uid), OwnerReferences: owners}
	}
	s := &apiServer{
		pods: len(pods), pod: func(i int) any { return pods[i] },
		parents: map[string][]metav1.Object{
			"replicasets": {meta("other", owner("apps/v1", "Deployment", "not-running")), meta("ReplicaSetweb-1", owner("apps/v1", "Deployment", "web"))},
			"jobs":        {meta("Jobnightly-1", owner("batch/v1", "CronJob", "nightly")), meta("Jobalone", nil), meta("Jobtrain-0", owner("jobset.x-k8s.io/v1", "JobSet", "train"))},
		},
	}
	c := &audit.Collector{}
	problems, err := (&cluster.Reader{Client: s.open(t)}).Read(t.Context(), c)
	if err != nil || len(problems) > 0 {
		t.Fatalf("Read: %v, %v", problems, err)
	}
	want := []string{
		"ns CloneSet/clone container c !c x1",
		"ns CronJob/nightly container c !c x1",
		"ns Deployment/web container main !main x1",
		"ns Deployment/web container waits !waits x1",
		"ns Deployment/web ephemeral debug !debug x1",
		"ns Deployment/web init init !init x1",
		"ns Deployment/web volume data !data x1",
		"ns Job/alone container c !c x1",
		"ns JobSet/train container c !c x1",
		"ns Pod/bare container c !c x1",
		"ns Pod/static container c !c x1",
	}
	if diff := cmp.Diff(want, rows(t, c)); diff != "" {
		t.Errorf("rows: -want +got\n%s", diff)
	}
	wantRequests := []string{"GET /api/v1/pods", "GET /apis/apps/v1/replicasets", "GET /apis/batch/v1/jobs"}
	if diff := cmp.Diff(wantRequests, s.requests); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
}

// TestManagedFields checks that a pod whose managedFields are no proper JSON is read like others.
// The API server does not check what a client writes there.
func TestManagedFields(t *testing.T) {
	s := &apiServer{pods: 2, pod: func(i int) any {
		return json.RawMessage(`{"metadata":{"name":"p","namespace":"ns","managedFields":[{"fieldsV1":` +
			`{"f:` + "\xff" + `":{},"f:a":{},"f:a":{}}}]},` +
			`"spec":{"containers":[{"name":"c` + strconv.Itoa(i) + `","image":"!a"}]}}`)
	}}
	c := &audit.Collector{}
	problems, err := (&cluster.Reader{Client: s.open(t)}).Read(t.Context(), c)
	if err != nil || len(problems) > 0 || c.Pods != 2 {
		t.Errorf("Read = %v, %v with %d pods, want 2 and no problem", problems, err, c.Pods)
	}
}

// TestDeep checks that an object that is nested as deeply as the API server allows is read like
// others, in any list.
func TestDeep(t *testing.T) {
	const levels = 9995 // with those of its metadata, the object has 10,000
	metadata := func(name string, uid types.UID, owners []metav1.OwnerReference) *metav1.ObjectMeta {
		fields := strings.Repeat(`{"f:\\\"{[":[],"f:a":`, levels) + `{}` + strings.Repeat("}", levels)
		return &metav1.ObjectMeta{
			Name: name, Namespace: "ns", UID: uid, OwnerReferences: owners,
			ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(fields)}},
		}
	}
	pods := []corev1.Pod{
		{ObjectMeta: *metadata("deep", "", owner("apps/v1", "ReplicaSet", "web-1"))},
		{ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "other"}},
	}
	for i := range pods {
		pods[i].Spec.Containers = []corev1.Container{{Name: "c", Image: "!c"}}
	}
	s := &apiServer{
		pods: len(pods), pod: func(i int) any { return pods[i] },
		parents: map[string][]metav1.Object{"replicasets": {
			metadata("web-1", "ReplicaSetweb-1", owner("apps/v1", "Deployment", "web")),
		}},
	}
	c := &audit.Collector{}
	problems, err := (&cluster.Reader{Client: s.open(t)}).Read(t.Context(), c)
	if err != nil || len(problems) > 0 {
		t.Fatalf("Read: %v, %v", problems, err)
	}
	want := []string{"ns Deployment/web container c !c x1", "other Pod/plain container c !c x1"}
	if diff := cmp.Diff(want, rows(t, c)); diff != "" {
		t.Errorf("rows: -want +got\n%s", diff)
	}
}

// TestPages checks that a list is read in pages, and goes on if the API server forgets its state.
func TestPages(t *testing.T) {
	s := &apiServer{pods: 1700, pod: func(i int) any {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), Namespace: "ns", OwnerReferences: owner("v1", "ReplicationController", "rc")},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "!c"}}},
		}
	}}
	expired := false
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("continue") != "1000" || expired {
			return false
		}
		expired = true
		w.WriteHeader(http.StatusGone)
		_, _ = w.Write([]byte(status(http.StatusGone, metav1.StatusReasonExpired, "1000")))
		return true
	}
	c := &audit.Collector{}
	var seen []int
	r := cluster.Reader{Client: s.open(t), Progress: func(n int) { seen = append(seen, n) }}
	if problems, err := r.Read(t.Context(), c); err == nil || len(problems) > 0 {
		t.Errorf("Read with a token that stays the same: %v, %v, want an error", problems, err)
	}
	expired = true
	c, seen = &audit.Collector{}, nil
	if problems, err := r.Read(t.Context(), c); err != nil || len(problems) > 0 {
		t.Fatalf("Read: %v, %v", problems, err)
	}
	if diff := cmp.Diff([]string{"ns ReplicationController/rc container c !c x1700"}, rows(t, c)); diff != "" {
		t.Errorf("rows: -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]int{500, 1000, 1500, 1700}, seen); diff != "" || s.largest > 500 {
		t.Errorf("pages of up to %d, progress -want +got\n%s", s.largest, diff)
	}
}

// TestForbidden checks that the advice names the user, and that it does not tell to create what the
// chart has created.
func TestForbidden(t *testing.T) {
	for message, want := range map[string]string{
		`pods is forbidden: User "jane@example.com" cannot list resource "pods"`:                        "--user=jane@example.com",
		`pods is forbidden: User "$(reboot)" cannot list resource "pods"`:                               "--user=NAME",
		`pods is forbidden: User "system:serviceaccount:pins:tagpin-audit" cannot list resource "pods"`: "the chart grants it, unless rbac.create is false; otherwise",
		`User "system:serviceaccount:pins:tagpin-audit"`:                                                "--serviceaccount=pins:tagpin-audit",
	} {
		s := &apiServer{answer: func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
				Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: message,
			})
			return true
		}}
		_, err := (&cluster.Reader{Client: s.open(t)}).Read(t.Context(), &audit.Collector{})
		if text := fmt.Sprint(err); !strings.Contains(text, want) || strings.Contains(text, "tagpin-audit --verb") {
			t.Errorf("%s: %s, want %s in it", message, text, want)
		}
	}
}

// TestForbiddenSecrets checks that each user gets a binding, and that only those who read pull
// secrets get the permission for them.
func TestForbiddenSecrets(t *testing.T) {
	const apply = " --dry-run=client -o yaml | kubectl apply -f -"
	want := "can run: kubectl create --namespace=a role tagpin-audit-reader --verb=list --resource=pods,replicasets.apps,jobs.batch" + apply +
		" && kubectl create --namespace=a rolebinding tagpin-audit-reader-team-jane --role=tagpin-audit-reader --user=team/jane" + apply
	secrets := " && kubectl create --namespace=a role tagpin-audit-secrets --verb=get --resource=secrets,serviceaccounts" + apply +
		" && kubectl create --namespace=a rolebinding tagpin-audit-secrets-team-jane --role=tagpin-audit-secrets --user=team/jane" + apply
	s := &apiServer{answer: func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: `User "team/jane" cannot list`,
		})
		return true
	}}
	for pullSecrets, want := range map[bool]string{false: want, true: want + secrets} {
		r := cluster.Reader{Client: s.open(t), Namespaces: []string{"a"}, PullSecrets: pullSecrets}
		if _, err := r.Read(t.Context(), &audit.Collector{}); !strings.HasSuffix(fmt.Sprint(err), want) {
			t.Errorf("PullSecrets %v: %v, want %s at the end", pullSecrets, err, want)
		}
	}
}

// TestTooManyContainers checks that a pod with more containers than can be looked at does not end
// the audit of others.
func TestTooManyContainers(t *testing.T) {
	s := &apiServer{pods: 2, pod: func(i int) any {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), Namespace: fmt.Sprint("ns-", i)}}
		for c := range 1 + 10_000*i {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint(c), Image: "!c"})
		}
		return p
	}}
	c := &audit.Collector{}
	problems, err := (&cluster.Reader{Client: s.open(t)}).Read(t.Context(), c)
	if err != nil || len(problems) > 0 {
		t.Fatalf("Read: %v, %v", problems, err)
	}
	want := []string{"ns-0 Pod/0 container 0 !c x1", "ns-1 (others)/(others) container (others)  x10001"}
	if diff := cmp.Diff(want, rows(t, c)); diff != "" {
		t.Errorf("rows: -want +got\n%s", diff)
	}
}

// TestProblems checks what is read, and what the errors say, if something can't be read.
func TestProblems(t *testing.T) {
	plain := func(int) any {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", OwnerReferences: owner("apps/v1", "ReplicaSet", "web-1")},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "!c"}}},
		}
	}
	for _, tt := range []struct {
		name       string
		path       string // that is refused
		code       int
		reason     metav1.StatusReason
		namespaces []string
		problem    string
		err        string
		rows       int
	}{
		{
			"all namespaces", "/api/v1/pods", 403, metav1.StatusReasonForbidden, nil, "",
			"listing pods in all namespaces is forbidden; name the namespaces that you may read by --namespace, or somebody who may grant permissions can run: kubectl create clusterrole tagpin-audit-reader --verb=list --resource=pods,replicasets.apps,jobs.batch --dry-run=client -o yaml | kubectl apply -f - && kubectl create clusterrolebinding tagpin-audit-reader-NAME --clusterrole=tagpin-audit-reader --user=NAME --dry-run=client -o yaml | kubectl apply -f -", 0,
		},
		{
			"one of two namespaces", "/api/v1/namespaces/b/pods", 403, metav1.StatusReasonForbidden,
			[]string{"a", "b"},
			"listing pods in the namespace b is forbidden; somebody who may grant permissions can run: kubectl create --namespace=b role tagpin-audit-reader", "", 1,
		},
		{
			"owners", "/apis/apps/v1/replicasets", 403, metav1.StatusReasonForbidden, nil,
			"listing replicasets.apps in all namespaces is forbidden; somebody who may grant permissions can run", "", 1,
		},
		{"no login", "/api/v1/pods", 401, metav1.StatusReasonUnauthorized, nil, "", "does not accept the login of the kubeconfig", 0},
		{"no JSON", "/api/v1/pods", 200, "", nil, "", "listing pods in all namespaces: ", 0},
	} {
		s := &apiServer{pods: 1, pod: plain, answer: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != tt.path {
				return false
			}
			if tt.code == http.StatusOK {
				_, _ = w.Write([]byte(`{"items":[{"metadata":`))
				return true
			}
			w.WriteHeader(tt.code)
			_, _ = w.Write([]byte(status(tt.code, tt.reason, "")))
			return true
		}}
		c := &audit.Collector{}
		reader := cluster.Reader{Client: s.open(t), Namespaces: tt.namespaces}
		problems, err := reader.Read(t.Context(), c)
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
		if len(problems) > 1 || (len(problems) == 1) != (tt.problem != "") || len(problems) == 1 && !strings.Contains(problems[0].Error(), tt.problem) {
			t.Errorf("%s: problems %v, want %q", tt.name, problems, tt.problem)
		}
		if got := rows(t, c); len(got) != tt.rows {
			t.Errorf("%s: rows %v, want %d", tt.name, got, tt.rows)
		}
	}
}

// TestNamedTwice checks that a namespace is read once.
func TestNamedTwice(t *testing.T) {
	s := &apiServer{}
	reader := cluster.Reader{Client: s.open(t), Namespaces: []string{"b", "a", "b"}}
	if _, err := reader.Read(t.Context(), &audit.Collector{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"GET /api/v1/namespaces/a/pods", "GET /api/v1/namespaces/b/pods"}
	if diff := cmp.Diff(want, s.requests); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
}

// TestHangs checks the error for an API server that takes a connection and never answers. It says
// which time was over.
func TestHangs(t *testing.T) {
	s := &apiServer{answer: func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the time x is over"))
	defer cancel()
	_, err := (&cluster.Reader{Client: s.open(t)}).Read(ctx, &audit.Collector{})
	const want = "the API server did not answer in time (the time x is over); check the kubeconfig"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Read = %v, want %s", err, want)
	}
}

// TestAway checks the error for an API server that does not answer, and for kubeconfigs that name
// none.
func TestAway(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	opened, err := cluster.Connection{Kubeconfig: kubeconfig(t, server.URL)}.Open()
	if err != nil {
		t.Fatal(err)
	}
	for inPod, want := range map[bool]string{
		false: "; check the kubeconfig and the context, and whether the cluster runs",
		true: "; check whether a NetworkPolicy keeps the pod from connecting to it, such as " +
			"networkPolicy.egress of the chart, and whether it runs",
	} {
		reader := cluster.Reader{Client: opened.Client, InPod: inPod}
		_, err = reader.Read(t.Context(), &audit.Collector{})
		text := fmt.Sprint(err)
		if !strings.Contains(text, "the API server can't be reached") || !strings.HasSuffix(text, want) {
			t.Errorf("Read with InPod %t = %v, want that the API server can't be reached%s", inPod, err, want)
		}
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, tt := range []struct {
		connection cluster.Connection
		want       string
	}{
		{cluster.Connection{}, "there is no kubeconfig; name one by --kubeconfig"},
		{cluster.Connection{Kubeconfig: "/does/not/exist"}, "kubeconfig: stat /does/not/exist"},
		{cluster.Connection{Kubeconfig: kubeconfig(t, "https://x"), Context: "other"}, `context "other" does not exist`},
	} {
		if _, err := tt.connection.Open(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: Open = %v, want %q", tt.connection, err, tt.want)
		}
	}
}

// TestMemory checks that the memory of an audit of 10,000 pods with 500 images does not grow with
// what is in the pods.
func TestMemory(t *testing.T) {
	const pods, images = 10_000, 500
	large := strings.Repeat("x", 8<<10)
	s := &apiServer{pods: pods, pod: func(i int) any {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("app-%d", i), Namespace: fmt.Sprintf("ns-%d", i%100),
				Annotations:     map[string]string{"large": large},
				OwnerReferences: owner("apps/v1", "ReplicaSet", fmt.Sprintf("app-%d", i%2000)),
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: fmt.Sprintf("!image-%d", i%images)}}},
		}
	}}
	client := s.open(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := &audit.Collector{}
	problems, err := (&cluster.Reader{Client: client}).Read(t.Context(), c)
	if err != nil || len(problems) > 0 {
		t.Fatalf("Read: %v, %v", problems, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 4<<20 {
		t.Errorf("%d bytes are kept for %d pods of 2000 workloads, want at most 4 MiB", kept, pods)
	}
	if c.Pods != pods || s.largest > 500 {
		t.Errorf("%d pods in pages of up to %d, want %d of up to 500", c.Pods, s.largest, pods)
	}
	report, err := (&audit.Auditor{Images: noImages(t)}).Report(t.Context(), c)
	if err != nil || len(report.Containers) != 2000 || report.Summary.Images != images {
		t.Errorf("Report = %d rows of %d images, %v, want 2000 of 500", len(report.Containers), report.Summary.Images, err)
	}
}
