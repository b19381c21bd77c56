// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/ref"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a Source that records its requests.
type source struct {
	mu    sync.Mutex
	hosts []string // of the requests
	err   error
	hold  chan struct{} // if not nil, each request waits until it is closed, and ignores its context
}

func (s *source) Resolve(r authn.Resource) (authn.Authenticator, error) {
	s.mu.Lock()
	s.hosts = append(s.hosts, r.RegistryStr())
	hold, err := s.hold, s.err
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return nil, err
	}
	return &authn.Basic{Username: "cloud", Password: "p"}, nil
}

// take returns the number of requests since its last call.
func (s *source) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.hosts)
	s.hosts = nil
	return n
}

// TestOwns checks hosts of each cloud and hosts that only look like them. The clouds' libraries
// would send a management token to some of these.
func TestOwns(t *testing.T) {
	for host, want := range map[string]cloud.Provider{
		"gcr.io": cloud.Google, "eu.gcr.io": cloud.Google, "europe-west1-docker.pkg.dev": cloud.Google, "marketplace.gcr.io": cloud.Google,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": cloud.Amazon, "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": cloud.Amazon,
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": cloud.Amazon, "public.ecr.aws": cloud.Amazon,
		"123456789012.dkr-ecr.eu-west-1.on.aws": cloud.Amazon, "ecr-public.aws.com": cloud.Amazon,
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu": cloud.Amazon,
		"myregistry.azurecr.io":                            cloud.Azure, "my-registry.azurecr.cn": cloud.Azure, "a.azurecr.us": cloud.Azure,

		"x.azurecr.io.attacker.example": "", "azurecr.io": "", "x.azurecr.io:5000": "", "x.y.azurecr.io": "", "xazurecr.io": "", "-x.azurecr.io": "",
		"gcr.io.attacker.example": "", "evilgcr.io": "", "gcr.io:443": "", "pkg.dev": "", "xpkg.dev": "", "a.pkg.dev.attacker.example": "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.attacker.example": "", "12345.dkr.ecr.eu-west-1.amazonaws.com": "",
		"123456789012.dkr-ecr.eu-west-1.on.aws.attacker.example": "", "123456789012.dkr-ecr.eu-west-1.xon.aws": "",
		"123456789012.dkr-ecr.eu-west-1.on-aws": "", "123456789012.dkr.ecr.attacker.example.amazonaws.com": "",
		"attacker.123456789012.dkr.ecr.eu-west-1.amazonaws.com": "", "public.ecr.aws.attacker.example": "",
		"user@gcr.io": "", "docker.io": "", "": "", strings.Repeat("a", 250) + ".gcr.io": "",
	} {
		for _, p := range []cloud.Provider{cloud.Google, cloud.Amazon, cloud.Azure} {
			if got := p.Owns(host); got != (p == want) {
				t.Errorf("%s.Owns(%q) = %t, want %t", p, host, got, p == want)
			}
		}
	}
}

// TestRequests checks that a cloud is asked if it is enabled and owns the host, and how long a
// credential and a failure are remembered.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		var reports []string
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Google}, Source: s,
			Report: func(f cloud.Failure) { reports = append(reports, fmt.Sprint(f.Provider, f.Err)) },
		}
		for i, step := range []struct {
			wait  time.Duration
			image string
			fresh bool
			err   error
			found bool
			want  int // requests
		}{
			{0, "gcr.io/a/b", false, nil, true, 1},
			{0, "gcr.io/c/d", false, nil, true, 0},
			{0, "myregistry.azurecr.io/a", false, nil, false, 0}, // not enabled
			{0, "gcr.io.attacker.example/a", false, nil, false, 0},
			{5 * time.Second, "gcr.io/a/b", true, nil, true, 0},
			{6 * time.Second, "gcr.io/a/b", true, nil, true, 1},                        // refused, and more than 10 s old
			{4 * time.Minute, "gcr.io/a/b", false, errors.New("no metadata"), true, 1}, // the last credential may still be valid
			{30 * time.Second, "gcr.io/a/b", false, nil, true, 0},
			{31 * time.Second, "gcr.io/a/b", false, nil, true, 1},
			{3 * time.Minute, "gcr.io/a/b", false, nil, true, 0},
			{62 * time.Minute, "gcr.io/a/b", false, errors.New("no metadata"), false, 1}, // the last credential is too old
			{30 * time.Second, "gcr.io/a/b", false, nil, false, 0},
			{31 * time.Second, "gcr.io/a/b", false, nil, true, 1},
		} {
			time.Sleep(step.wait)
			s.mu.Lock()
			s.err = step.err
			s.mu.Unlock()
			got := a.For("n").Credentials(t.Context(), ref.MustParse(step.image), step.fresh)
			if (found(got) && got[0].Shared) != step.found {
				t.Errorf("step %d: Credentials(%s) = %v, want a credential: %t", i, step.image, got, step.found)
			}
			if n := s.take(); n != step.want {
				t.Errorf("step %d: %d requests, want %d", i, n, step.want)
			}
		}
		synctest.Wait()
		if len(reports) != 2 {
			t.Errorf("reports = %v, want 2", reports)
		}
	})
}

// TestMetrics checks that requests are counted by cloud and result, and not by anything that a
// tenant chooses.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		m := cloud.NewMetrics(r)
		clouds := []cloud.Provider{cloud.Amazon, cloud.Azure}
		s := &source{}
		a := &cloud.Ambient{Providers: clouds, Source: s, Metrics: m}
		get := func(host string) {
			a.For("n").Credentials(t.Context(), ref.MustParse(host+"/a"), false)
		}
		get("a.azurecr.io")
		get("b.azurecr.io")
		get("b.azurecr.io") // remembered
		s.err = errors.New("no role")
		get("c.azurecr.io")
		get("gcr.io") // not enabled
		synctest.Wait()
		const want = `
# HELP tagpin_cloud_credentials_total Requests for a credential of a cloud's identity, by cloud (google, amazon, azure) and result: ok, or failed (the log has the reason). A credential is used for up to an hour after its cloud gave the last one. 0 for the clouds that the config does not switch on.
# TYPE tagpin_cloud_credentials_total counter
tagpin_cloud_credentials_total{cloud="amazon",result="failed"} 0
tagpin_cloud_credentials_total{cloud="amazon",result="ok"} 0
tagpin_cloud_credentials_total{cloud="azure",result="failed"} 1
tagpin_cloud_credentials_total{cloud="azure",result="ok"} 2
tagpin_cloud_credentials_total{cloud="google",result="failed"} 0
tagpin_cloud_credentials_total{cloud="google",result="ok"} 0
`
		if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
}

// TestHanging checks that a library that hangs is waited for until the timeout, and that the number
// of requests at a time has a maximum.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{hold: make(chan struct{})}
		a := &cloud.Ambient{Providers: []cloud.Provider{cloud.Azure}, Source: s}
		begin := time.Now()
		got := a.For("n").Credentials(t.Context(), ref.MustParse("r0.azurecr.io/a"), false)
		if found(got) || time.Since(begin) != 2*time.Second {
			t.Errorf("Credentials = %v after %v, want a mark after 2 s", got, time.Since(begin))
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				image := ref.MustParse(fmt.Sprintf("r%d.azurecr.io/a", i))
				a.For(fmt.Sprint(i)).Credentials(t.Context(), image, false)
			})
		}
		wg.Wait()
		synctest.Wait()
		if n := s.take(); n != 16 {
			t.Errorf("%d requests under way, want 16", n)
		}
		close(s.hold)
		synctest.Wait()
		got = a.For("n").Credentials(t.Context(), ref.MustParse("other.azurecr.io/a"), false)
		if !found(got) {
			t.Errorf("afterwards: Credentials = %v, want a credential", got)
		}
	})
}

// TestRefusedMeanwhile checks that a lookup whose credential a registry has refused, which requests
// a new one, does not delay lookups for which the remembered one is new enough.
func TestRefusedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		a := &cloud.Ambient{Providers: []cloud.Provider{cloud.Google}, Source: s}
		get := func(namespace string, fresh bool) (waited time.Duration) {
			begin := time.Now()
			got := a.For(namespace).Credentials(t.Context(), ref.MustParse("gcr.io/a/b"), fresh)
			if !found(got) {
				t.Errorf("%s: Credentials = %v, want a credential", namespace, got)
			}
			return time.Since(begin)
		}
		get("n", false)
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.hold = make(chan struct{})
		s.mu.Unlock()
		go get("refused", true)
		synctest.Wait()
		if waited := get("other", false); waited != 0 {
			t.Errorf("a lookup waited %v for a credential that it did not need", waited)
		}
		if waited := get("refused too", true); waited != 2*time.Second {
			t.Errorf("a lookup that was refused waited %v, want 2 s", waited)
		}
		close(s.hold)
		synctest.Wait()
	})
}

// TestHangingAlone checks that hosts that hang don't delay other clouds, or hosts with a
// credential.
func TestHangingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Azure, cloud.Amazon}, Source: s,
		}
		has := func(image string) bool {
			return found(a.For("n").Credentials(t.Context(), ref.MustParse(image), false))
		}
		if !has("known.azurecr.io/a") {
			t.Fatal("Credentials returned no credential, want one")
		}
		time.Sleep(5 * time.Minute) // until the credential must be renewed
		s.mu.Lock()
		s.hold = make(chan struct{})
		s.mu.Unlock()
		for i := range 8 {
			has(fmt.Sprintf("r%d.azurecr.io/a", i))
		}
		if !has("known.azurecr.io/a") {
			t.Error("host with a credential: Credentials returned none, want the last one")
		}
		close(s.hold)
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		synctest.Wait()
		if !has("known.azurecr.io/a") || !has("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a") {
			t.Error("afterwards: Credentials returned none, want credentials for both hosts")
		}
	})
}
