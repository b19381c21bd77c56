// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// blobOf reads a whole blob.
func blobOf(ctx context.Context, c *Client, req Request, b Blob) (string, error) {
	var buf bytes.Buffer
	err := c.Blob(ctx, req, b, func(r io.Reader) error {
		_, err := io.Copy(&buf, r)
		return err
	})
	return buf.String(), err
}

func described(text string) Blob {
	return Blob{Digest: digest.FromString(text), Size: int64(len(text))}
}

// TestBlobIsVerified checks that only bytes with the right digest and size are a blob.
func TestBlobIsVerified(t *testing.T) {
	const text = "the bytes of a layer"
	for name, tt := range map[string]struct {
		sent string
		blob Blob
		want string // in the error
	}{
		"right":        {text, described(text), ""},
		"empty":        {"", described(""), ""},
		"other bytes":  {strings.ToUpper(text), described(text), "another digest"},
		"too short":    {text[1:], described(text), "has not the 20 bytes"},
		"too long":     {text + "!", described(text), "has not the 20 bytes"},
		"wrong size":   {text, Blob{digest.FromString(text), 19}, "has not the 19 bytes"},
		"no digest":    {text, Blob{"sha256:abc", 20}, "without a valid digest"},
		"minus a byte": {text, Blob{digest.FromString(text), -1}, "without a valid digest"},
	} {
		t.Run(name, func(t *testing.T) {
			c := over(handler(func(w http.ResponseWriter, r *http.Request) {
				if want := "/v2/a/blobs/" + tt.blob.Digest.String(); r.URL.Path != want {
					t.Errorf("path = %s, want %s", r.URL.Path, want)
				}
				_, _ = w.Write([]byte(tt.sent))
			}))
			got, err := blobOf(t.Context(), c, head("r.example/a:1", ""), tt.blob)
			if tt.want == "" {
				if err != nil || got != tt.sent {
					t.Errorf("Blob = %q, %v, want %q", got, err, tt.sent)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || failure.Of(err) != failure.Invalid {
				t.Errorf("Blob = %v, want an invalid answer: %s", err, tt.want)
			}
		})
	}
}

// TestBlobIsReadToItsEnd checks that what the caller leaves is verified too, and that the caller's
// own error ends the request.
func TestBlobIsReadToItsEnd(t *testing.T) {
	c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("one two"))
	}))
	one := func(r io.Reader) error { _, err := io.ReadFull(r, make([]byte, 3)); return err }
	req := head("r.example/a:1", "")
	if err := c.Blob(t.Context(), req, described("one two"), one); err != nil {
		t.Error(err)
	}
	if err := c.Blob(t.Context(), req, described("one TWO"), one); !errors.Is(err, failure.Invalid) {
		t.Errorf("Blob = %v, want it to see the rest of the bytes", err)
	}
	own := errors.New("mine")
	err := c.Blob(t.Context(), req, described("one two"), func(io.Reader) error { return own })
	if !errors.Is(err, own) {
		t.Errorf("Blob = %v, want the caller's error", err)
	}
}

// TestBlobFromAnotherHost checks that a redirect to a store of blobs is followed, without the
// credential.
func TestBlobFromAnotherHost(t *testing.T) {
	const text = "a layer"
	store := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.URL.RawQuery != "signature=x" {
				t.Errorf("the store got %s with %q", r.URL, r.Header)
			}
			_, _ = w.Write([]byte(text))
		}))
	s, host, c := Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "u" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, store.URL+"/bucket?signature=x", http.StatusTemporaryRedirect)
	})
	store.TLS = s.TLS.Clone()
	store.StartTLS()
	t.Cleanup(store.Close)
	c.Network.Roots.AddCert(store.Certificate())
	req := Request{Ref: ref.MustParse(host + "/a:1"), Credentials: []keychain.Credential{
		{Auth: authn.AuthConfig{Username: "u", Password: "p"}},
	}}
	if got, err := blobOf(t.Context(), c, req, described(text)); err != nil || got != text {
		t.Errorf("Blob = %q, %v, want %q", got, err, text)
	}
}

// slow is a registry that sends a byte after each pause, and hangs before the last one.
type slow struct {
	pause time.Duration
	hangs bool
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	go func() {
		for _, b := range []byte("0123456789") {
			select {
			case <-time.After(s.pause):
			case <-r.Context().Done():
				_ = w.CloseWithError(context.Cause(r.Context()))
				return
			}
			if s.hangs && b == '9' {
				<-r.Context().Done()
				_ = w.CloseWithError(context.Cause(r.Context()))
				return
			}
			_, _ = w.Write([]byte{b})
		}
		_ = w.Close()
	}()
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r, ContentLength: 10, Body: body,
	}, nil
}

// TestBlobMayBeReadSlowly checks that the time that read takes is not the registry's.
func TestBlobMayBeReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(slow{pause: 3 * time.Second})
		got := ""
		err := c.Blob(t.Context(), head("r.example/a:1", ""), described("0123456789"),
			func(r io.Reader) error {
				for range 10 {
					time.Sleep(time.Minute)
					b := make([]byte, 1)
					if _, err := io.ReadFull(r, b); err != nil {
						return err
					}
					got += string(b)
				}
				time.Sleep(time.Minute)
				return nil
			})
		if err != nil || got != "0123456789" {
			t.Errorf("a blob that is read slowly = %q, %v, want all of it", got, err)
		}
	})
}

// TestBlobMayBeSlow checks that a registry's timeout is for each read of a blob, and not for all.
func TestBlobMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(slow{pause: 3 * time.Second})
		got, err := blobOf(t.Context(), c, head("r.example/a:1", ""), described("0123456789"))
		if err != nil || got != "0123456789" {
			t.Errorf("a slow blob = %q, %v, want all of it", got, err)
		}
		c = over(slow{pause: time.Second, hangs: true})
		began := time.Now()
		_, err = blobOf(t.Context(), c, head("r.example/a:1", ""), described("0123456789"))
		if !errors.Is(err, failure.Unavailable) {
			t.Errorf("a blob that hangs: %v, want it to be unavailable", err)
		}
		if took := time.Since(began); took != 9*time.Second+DefaultTimeout {
			t.Errorf("a blob that hangs after 9s took %v, want the timeout more", took)
		}
	})
}
