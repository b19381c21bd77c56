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

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
)

// ecr returns an image in an Amazon registry.
func ecr(account int, region string) ref.Reference {
	return ref.MustParse(fmt.Sprintf("%012d.dkr.ecr.%s.amazonaws.com/a", account, region))
}

// found reports whether there is a credential. A mark is not one.
func found(creds []keychain.Credential) bool { return len(creds) == 1 && !creds[0].Unread }

// oneRegion returns a Source that knows one region. For any other region it waits for hold if that
// is not nil, and then fails.
func oneRegion(s *source, hold chan struct{}) authn.Keychain {
	return keychainFunc(func(r authn.Resource) (authn.Authenticator, error) {
		if r.RegistryStr() == ecr(1, "eu-west-1").Host() {
			return s.Resolve(r)
		}
		if hold != nil {
			<-hold
		}
		return nil, errors.New("no such host")
	})
}

type keychainFunc func(authn.Resource) (authn.Authenticator, error)

func (f keychainFunc) Resolve(r authn.Resource) (authn.Authenticator, error) { return f(r) }

// TestScopes checks that one credential is requested for everything that it is valid for.
func TestScopes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		images []string
		want   int // requests
	}{
		{"two accounts in one region", []string{
			"000000000001.dkr.ecr.eu-west-1.amazonaws.com/a",
			"000000000002.dkr.ecr.eu-west-1.amazonaws.com/b",
		}, 1},
		{"two regions", []string{
			"000000000001.dkr.ecr.eu-west-1.amazonaws.com/a",
			"000000000001.dkr.ecr.eu-west-2.amazonaws.com/a",
		}, 2},
		{"kinds of endpoints", []string{
			"000000000001.dkr.ecr.us-gov-west-1.amazonaws.com/a",
			"000000000001.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a",
			"public.ecr.aws/a/b", "public.ecr.aws/c/d",
		}, 3},
		{"Google", []string{
			"gcr.io/a/b", "eu.gcr.io/a/b", "europe-west1-docker.pkg.dev/a/b/c",
		}, 1},
		{"Azure", []string{"one.azurecr.io/a", "two.azurecr.io/a", "one.azurecr.io/b"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &source{}
			all := []cloud.Provider{cloud.Google, cloud.Amazon, cloud.Azure}
			a := &cloud.Ambient{Providers: all, Source: s}
			for _, image := range tt.images {
				if got := a.For("n").Credentials(t.Context(), ref.MustParse(image), false); !found(got) {
					t.Errorf("Credentials(%s) = %v, want a credential", image, got)
				}
			}
			if n := s.take(); n != tt.want {
				t.Errorf("%d requests, want %d", n, tt.want)
			}
		})
	}
}

// TestInventedRegionsHang checks that invented regions that hang don't delay other namespaces, or
// regions with a credential.
func TestInventedRegionsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := &source{}
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Amazon}, Source: oneRegion(s, hold),
		}
		for i := range 100 {
			go a.For("loud").Credentials(t.Context(), ecr(i, fmt.Sprintf("invented-%d", i)), false)
		}
		synctest.Wait()
		if got := a.For("quiet").Credentials(t.Context(), ecr(1, "eu-west-1"), false); !found(got) {
			t.Errorf("another namespace: Credentials = %v, want a credential", got)
		}
		for n := range 40 {
			for i := range 3 {
				image := ecr(i, fmt.Sprintf("more-%d-%d", n, i))
				go a.For(fmt.Sprint("loud", n)).Credentials(t.Context(), image, false)
			}
		}
		time.Sleep(cloudTTL)
		s.take()
		got := a.For("loud").Credentials(t.Context(), ecr(1, "eu-west-1"), false)
		if n := s.take(); !found(got) || n != 1 {
			t.Errorf("region with a credential: Credentials = %v, %d requests, want a credential, 1 request",
				got, n)
		}
		close(hold)
		synctest.Wait()
	})
}

// cloudTTL is how long a credential is remembered.
const cloudTTL = 4 * time.Minute

// TestInventedRegionsAreForgotten checks that invented regions push out no credential.
func TestInventedRegionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		a := &cloud.Ambient{Providers: []cloud.Provider{cloud.Amazon}, Source: oneRegion(s, nil)}
		has := func() bool {
			return found(a.For("quiet").Credentials(t.Context(), ecr(1, "eu-west-1"), false))
		}
		if !has() || s.take() != 1 {
			t.Fatal("want a credential by one request")
		}
		for i := range 400 { // two a second, for less than the credential is remembered
			a.For("loud").Credentials(t.Context(), ecr(i, fmt.Sprintf("invented-%d", i)), false)
		}
		if ok, n := has(), s.take(); !ok || n != 0 {
			t.Errorf("afterwards: found %t, %d requests, want the remembered credential", ok, n)
		}
	})
}

// TestInventedRegionsFail checks that a namespace can't cause very many requests or reports by
// regions that fail at once.
func TestInventedRegionsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, reports := 0, 0
		var mu sync.Mutex
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Amazon},
			Source: keychainFunc(func(authn.Resource) (authn.Authenticator, error) {
				mu.Lock()
				defer mu.Unlock()
				requests++
				return nil, errors.New("no such host")
			}),
			Report: func(f cloud.Failure) {
				mu.Lock()
				defer mu.Unlock()
				if reports++; f.Namespace != "loud" || !strings.HasSuffix(f.Registry, ".amazonaws.com") {
					t.Errorf("reported %+v, want the namespace and the registry", f)
				}
			},
		}
		const seconds = 20
		for began := time.Now(); time.Since(began) < seconds*time.Second; time.Sleep(time.Second) {
			for i := range 30 {
				region := fmt.Sprintf("invented-%d-%d", time.Since(began)/time.Second, i)
				go a.For("loud").Credentials(t.Context(), ecr(i, region), false)
			}
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		// While they are made, two each second, and one report of ten seconds after the first ten.
		if requests > 2*(seconds+3) || reports > 10+seconds/10+1 {
			t.Errorf("%d requests, %d reports in %d s, want at most 2 requests a second", requests, reports,
				seconds)
		}
	})
}

// TestNoAnswer checks that a cloud that returns no credential leads to a mark, and that failures
// are reported.
func TestNoAnswer(t *testing.T) {
	var caught []*panics.Error
	for name, source := range map[string]keychainFunc{
		"error": func(authn.Resource) (authn.Authenticator, error) {
			return nil, errors.New("no metadata")
		},
		"too large": func(authn.Resource) (authn.Authenticator, error) {
			return &authn.Basic{Username: "u", Password: strings.Repeat("p", 16<<10)}, nil
		},
		"anonymous": func(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil },
		"panic":     func(authn.Resource) (authn.Authenticator, error) { panic("no config") },
	} {
		reports := 0
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Google}, Source: source,
			Report: func(cloud.Failure) { reports++ },
			Panics: &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }},
		}
		for range 3 {
			got := a.For("n").Credentials(t.Context(), ref.MustParse("gcr.io/a/b"), false)
			if len(got) != 1 || !got[0].Unread || got[0].Auth != (authn.AuthConfig{}) {
				t.Errorf("%s: Credentials = %v, want a mark", name, got)
			}
		}
		if reports != 1 {
			t.Errorf("%s: %d reports, want 1", name, reports)
		}
	}
	if len(caught) != 1 {
		t.Errorf("%d panics reported, want 1", len(caught))
	}
}

// TestPublic checks that Amazon's public registry needs no mark, because all of its images are
// public.
func TestPublic(t *testing.T) {
	a := &cloud.Ambient{
		Providers: []cloud.Provider{cloud.Amazon},
		Source: keychainFunc(func(authn.Resource) (authn.Authenticator, error) {
			return nil, errors.New("not authorized to perform ecr-public:GetAuthorizationToken")
		}),
	}
	for _, image := range []string{"public.ecr.aws/a/b", "ecr-public.aws.com/a/b"} {
		if got := a.For("n").Credentials(t.Context(), ref.MustParse(image), false); got != nil {
			t.Errorf("Credentials(%s) = %v, want nil", image, got)
		}
	}
}
