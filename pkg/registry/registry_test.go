// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCAFile checks that a CA file makes a client trust a registry, and that its errors are clear.
func TestCAFile(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	file := filepath.Join(t.TempDir(), "ca.crt")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, want string }{
		{file, ""},
		{"", "signed by an unknown authority"},
		{file + ".missing", "no such file"},
	} {
		named := registry.Host{Name: host, TLS: network.TLSFiles{CA: tt.file}}
		c := &registry.Client{Network: registry.Loopback, Hosts: []registry.Host{named}}
		_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")})
		c.Close()
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("caFile %q: %v, want %q", tt.file, err, tt.want)
		}
	}
}

// TestReasons checks that errors tell what the network answered only for hosts that the config
// names, and in a command-line tool. A tenant would learn from it what can be reached from here.
// Only the tool's user reads the setting or flag that may help. The cause for the operator has
// everything.
func TestReasons(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	allow := registry.Loopback
	for _, tt := range []struct {
		name, host string
		network    network.Network
		want       string
		setting    string
	}{
		{"no TLS", strings.TrimPrefix(plain.URL, "http://"), allow, "it does not speak TLS", "insecure"},
		{"closed", strings.TrimPrefix(closed.URL, "http://"), allow, "connection refused", ""},
		{"unknown CA", strings.TrimPrefix(other.URL, "https://"), allow, "its TLS certificate is signed by an unknown authority", "caFile"},
		{"no such host", "registry.invalid", allow, "DNS", ""},
		{"address", strings.TrimPrefix(plain.URL, "http://"), network.Network{}, "its address is not allowed", "network.allow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withSetting := tt.want
			if tt.setting != "" {
				withSetting += "; see " + tt.setting
			}
			forUser := withSetting
			if hint := map[string]string{
				"insecure": "; if you trust the network, use --insecure ",
				"caFile":   "; name its CA by caFile in the file of --config, or use --insecure ",
			}[tt.setting]; hint != "" {
				forUser = tt.want + hint + tt.host
			}
			for client, want := range map[*registry.Client]string{
				{Network: tt.network, Hosts: []registry.Host{{Name: tt.host}}}: tt.want,
				{Network: tt.network, ExplainAll: true}:                        forUser,
				{Network: tt.network}:                                          "unreachable",
			} {
				_, err := client.Head(t.Context(), registry.Request{Ref: ref.MustParse(tt.host + "/a:1")})
				client.Close()
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Head = %v, want %s", err, want)
				}
				text := fmt.Sprint(err)
				tells := strings.Contains(text, "; see ") || strings.Contains(text, "--insecure")
				if tells && !client.ExplainAll {
					t.Errorf("Head = %v, want no setting in it", err)
				}
				if got := failure.Cause(err); !strings.Contains(got, withSetting) || !strings.HasPrefix(got, tt.host+": ") {
					t.Errorf("Cause(%v) = %s, want the host and %s", err, got, withSetting)
				}
			}
		})
	}
}

// TestQueue checks that waiting for the rate takes the caller's time and not the registry's, which
// begins when the request is sent.
func TestQueue(t *testing.T) {
	host, c := plain(t, func(http.ResponseWriter, *http.Request) {})
	c.Hosts[0].RequestsPerSecond, c.Hosts[0].Timeout = 10, time.Second
	errs := make(chan error)
	for range 30 { // the last one waits for two seconds
		go func() {
			_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")})
			errs <- err
		}()
	}
	for range 30 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
