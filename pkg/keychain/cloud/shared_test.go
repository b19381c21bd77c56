// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
)

// ecr is an image in the registry of an account in a region.
func ecr(account int, region string) ref.Reference {
	return ref.MustParse(fmt.Sprintf("%012d.dkr.ecr.%s.amazonaws.com/a", account, region))
}

// found reports whether there is a credential, and not only the mark that there may be one.
func found(creds []keychain.Credential) bool { return len(creds) == 1 && !creds[0].Unread }

// madeUp is a source that knows one region. The others hang if hold is not nil, and fail otherwise.
func madeUp(s *source, hold chan struct{}) authn.Keychain {
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

// A credential is asked for once for all that it is good for.
func TestScopes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		images []string
		asked  int
	}{
		{"accounts of one region", []string{
			"000000000001.dkr.ecr.eu-west-1.amazonaws.com/a",
			"000000000002.dkr.ecr.eu-west-1.amazonaws.com/b",
		}, 1},
		{"regions", []string{
			"000000000001.dkr.ecr.eu-west-1.amazonaws.com/a",
			"000000000001.dkr.ecr.eu-west-2.amazonaws.com/a",
		}, 2},
		{"other endpoints", []string{
			"000000000001.dkr.ecr.us-gov-west-1.amazonaws.com/a",
			"000000000001.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a",
			"public.ecr.aws/a/b", "public.ecr.aws/c/d",
		}, 3},
		{"all of Google", []string{
			"gcr.io/a/b", "eu.gcr.io/a/b", "europe-west1-docker.pkg.dev/a/b/c",
		}, 1},
		{"each of Azure", []string{"one.azurecr.io/a", "two.azurecr.io/a", "one.azurecr.io/b"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &source{}
			all := []cloud.Provider{cloud.Google, cloud.Amazon, cloud.Azure}
			a := &cloud.Ambient{Providers: all, Source: s}
			for _, image := range tt.images {
				if got := a.For("n").Credentials(t.Context(), ref.MustParse(image), false); !found(got) {
					t.Errorf("Credentials(%s) = %v, want one", image, got)
				}
			}
			if n := s.take(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// Regions that a tenant makes up, and which hang, hold up no other namespace, and nobody where the
// cloud has answered before.
func TestMadeUpRegionsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s := &source{}
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Amazon}, Source: madeUp(s, hold), Timeout: time.Second,
		}
		for i := range 100 {
			go a.For("loud").Credentials(t.Context(), ecr(i, fmt.Sprintf("made-up-%d", i)), false)
		}
		synctest.Wait()
		if got := a.For("quiet").Credentials(t.Context(), ecr(1, "eu-west-1"), false); !found(got) {
			t.Errorf("another namespace: Credentials = %v, want one", got)
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
			t.Errorf("a region that answered before: Credentials = %v, asked %d times, want one, once", got, n)
		}
		close(hold)
		synctest.Wait()
	})
}

// cloudTTL is how long a credential is remembered.
const cloudTTL = 4 * time.Minute

// Regions that a tenant makes up push out no good answer.
func TestMadeUpRegionsAreForgotten(t *testing.T) {
	s := &source{}
	a := &cloud.Ambient{Providers: []cloud.Provider{cloud.Amazon}, Source: madeUp(s, nil)}
	good := func() bool {
		return found(a.For("quiet").Credentials(t.Context(), ecr(1, "eu-west-1"), false))
	}
	if !good() || s.take() != 1 {
		t.Fatal("no credential")
	}
	for i := range 1000 {
		a.For("loud").Credentials(t.Context(), ecr(i, fmt.Sprintf("made-up-%d", i)), false)
	}
	if ok, n := good(), s.take(); !ok || n != 0 {
		t.Errorf("afterwards: found %t, asked %d times, want one that is remembered", ok, n)
	}
}

// Where a cloud gives nothing, that is not the same as that there is nothing to give.
func TestNoAnswer(t *testing.T) {
	var caught []*panics.Error
	for name, answer := range map[string]keychainFunc{
		"an error": func(authn.Resource) (authn.Authenticator, error) {
			return nil, errors.New("no metadata")
		},
		"too much": func(authn.Resource) (authn.Authenticator, error) {
			return &authn.Basic{Username: "u", Password: strings.Repeat("p", 16<<10)}, nil
		},
		"anonymous": func(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil },
		"a panic":   func(authn.Resource) (authn.Authenticator, error) { panic("no config") },
	} {
		reports := 0
		a := &cloud.Ambient{
			Providers: []cloud.Provider{cloud.Google}, Source: answer,
			Report: func(cloud.Provider, error) { reports++ },
			Panics: &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }},
		}
		for range 3 {
			got := a.For("n").Credentials(t.Context(), ref.MustParse("gcr.io/a/b"), false)
			if len(got) != 1 || !got[0].Unread || got[0].Auth != (authn.AuthConfig{}) {
				t.Errorf("%s: Credentials = %v, want one that is unread", name, got)
			}
		}
		if reports != 1 {
			t.Errorf("%s: %d reports, want one", name, reports)
		}
	}
	if len(caught) != 1 {
		t.Errorf("%d panics are reported, want one", len(caught))
	}
}

// Where all images are public, a credential that the cloud does not give is not missed.
func TestPublic(t *testing.T) {
	a := &cloud.Ambient{
		Providers: []cloud.Provider{cloud.Amazon},
		Source: keychainFunc(func(authn.Resource) (authn.Authenticator, error) {
			return nil, errors.New("not authorized to perform ecr-public:GetAuthorizationToken")
		}),
	}
	for _, image := range []string{"public.ecr.aws/a/b", "ecr-public.aws.com/a/b"} {
		if got := a.For("n").Credentials(t.Context(), ref.MustParse(image), false); got != nil {
			t.Errorf("Credentials(%s) = %v, want nothing", image, got)
		}
	}
}
