// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// stalling is a registry whose manifests stop one byte before their end, but not those of the
// repository "small".
type stalling struct{ size int }

func (s stalling) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r, ContentLength: int64(s.size),
	}
	begin := bytes.NewReader(make([]byte, s.size-1))
	resp.Body = io.NopCloser(io.MultiReader(begin, hanging{r.Context()}))
	if strings.HasPrefix(r.URL.Path, "/v2/small/") {
		resp.ContentLength, resp.Body = 2, io.NopCloser(strings.NewReader("{}"))
	}
	return resp, nil
}

// hanging is a body that never comes.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

func get(ctx context.Context, c *Client, namespace, image string) (*Manifest, error) {
	l := c.one(head(image, namespace))
	defer l.slot.leave()
	return l.request(ctx, http.MethodGet)
}

// TestManifestsAreBounded checks that many large manifests that stall hold no more bytes than there
// is room for, that small ones are read meanwhile, and that a lack of room closes no gate.
func TestManifestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fair.Queue{Capacity: 4 * MaxManifest, Share: 2 * MaxManifest}
		c := &Client{Manifests: q, Hosts: []Host{{Name: "*", MaxInFlight: 1000, RequestsPerSecond: 1e6}}}
		_ = c.Init()
		c.replace(stalling{MaxManifest})
		errs := make(chan error, 64)
		hosts := []string{"a.example", "b.example", "c.example", "d.example"}
		for i := range 64 {
			go func() {
				_, err := get(t.Context(), c, "loud", hosts[i%4]+"/large/"+string(rune('a'+i%26))+":1")
				errs <- err
			}()
		}
		synctest.Wait()
		if s := q.Stats(); s.InUse != 2*MaxManifest {
			t.Errorf("%d bytes are held for one namespace, want its share of %d", s.InUse, 2*MaxManifest)
		}
		go func() { _, err := get(t.Context(), c, "other", "a.example/large/z:1"); errs <- err }()
		synctest.Wait()
		if s := q.Stats(); s.InUse != 3*MaxManifest {
			t.Errorf("%d bytes are held, want another namespace's manifest to be read too", s.InUse)
		}
		begin := time.Now()
		m, err := get(t.Context(), c, "loud", "a.example/small/a:1")
		if err != nil || string(m.Body) != "{}" || time.Since(begin) != 0 {
			t.Errorf("a small manifest = %v, %v after %v, want it at once", m, err, time.Since(begin))
		}
		if s := q.Stats(); s.TimedOut != 0 {
			t.Errorf("%d manifests have waited in vain, want none while they wait", s.TimedOut)
		}
		noRoom := 0
		for range 65 {
			if err := <-errs; errors.Is(err, ErrOfNamespace) {
				noRoom++
			}
		}
		if s := q.Stats(); noRoom != 62 || s.InUse+int64(s.Waiting) != 0 {
			t.Errorf("%d found no room, and %+v; want 62, and nothing in use", noRoom, s)
		}
		c.replace(stalling{1 << 10})
		if err := closed(c.gates, c.one(head("a.example/large/none:1", "")).gates()); err != nil {
			t.Errorf("a gate is closed: %v", err)
		}
	})
}

// TestGetsAreBounded checks that no more manifests are read at the same time than Gets allows, that
// another namespace has its turn, and that waiting in vain closes no gate.
func TestGetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fair.Queue{Capacity: 8}
		c := &Client{Gets: q, Hosts: []Host{{Name: "*", MaxInFlight: 1000, RequestsPerSecond: 1e6}}}
		c.replace(stalling{1 << 10})
		errs := make(chan error, 100)
		ctx, cancel := context.WithTimeout(t.Context(), 2*c.Host("a.example").Timeout)
		defer cancel()
		for i := range cap(errs) {
			go func() {
				image := "a.example/slow/" + strconv.Itoa(i) + ":1"
				_, err := get(ctx, c, "loud", image)
				errs <- err
			}()
		}
		synctest.Wait()
		if s := q.Stats(); s.InUse != 8 || s.Waiting != 92 {
			t.Errorf("%+v, want 8 manifests being read and 92 waiting", s)
		}
		begin := time.Now()
		m, err := get(t.Context(), c, "other", "b.example/small/a:1")
		if took := time.Since(begin); err != nil || string(m.Body) != "{}" || took > c.Host("b.example").Timeout {
			t.Errorf("another namespace's manifest = %v, %v after %v, want it with the first turn", m, err, took)
		}
		noRoom := 0
		for range cap(errs) {
			if err := <-errs; errors.Is(err, ErrOfNamespace) {
				noRoom++
			}
		}
		if s := q.Stats(); noRoom == 0 || s.InUse+int64(s.Waiting) != 0 {
			t.Errorf("%d had no turn, and %+v; want some, and nothing in use", noRoom, s)
		}
	})
}

// TestBeginAfterTheLastWait checks that Begin is called when a GET has its turn, and not before.
func TestBeginAfterTheLastWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fair.Queue{Capacity: 1}
		leave, err := q.Enter(t.Context(), "loud", 1)
		if err != nil {
			t.Fatal(err)
		}
		c := &Client{Gets: q}
		c.replace(stalling{1 << 10})
		begun := 0
		req := head("a.example/small/a:1", "other")
		req.Begin = func() error { begun++; return nil }
		go func() {
			if _, err := c.Manifest(t.Context(), req); err == nil {
				t.Error("Manifest of {} = nil, want an error")
			}
		}()
		synctest.Wait()
		if begun != 0 {
			t.Errorf("Begin was called %d times before the GET had its turn, want 0", begun)
		}
		leave()
		synctest.Wait()
		if begun != 1 || q.Stats().InUse != 0 {
			t.Errorf("Begin was called %d times, want 1; %+v, want nothing in use", begun, q.Stats())
		}
	})
}

// TestNoRoomIsNoSilence checks that a namespace whose manifests find no room does not hold up
// others at the registry or in the repository: the registry has answered.
func TestNoRoomIsNoSilence(t *testing.T) {
	for name, closing := range map[string]requestError{
		"no connection": {evidence: network.NotConnected},
		"503":           {status: http.StatusServiceUnavailable},
		"429":           {status: http.StatusTooManyRequests},
		"hangs":         {evidence: network.Broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &fair.Queue{Capacity: 2 * MaxManifest, Share: MaxManifest}
				c := &Client{Manifests: q}
				c.replace(stalling{MaxManifest})
				leave, err := q.Enter(t.Context(), "loud", MaxManifest)
				if err != nil {
					t.Fatal(err)
				}
				defer leave()
				c.one(head("a.example/large/app:1", "b")).judge(&closing)
				time.Sleep(limited.first)
				done := make(chan error, 1)
				go func() { _, err := get(t.Context(), c, "loud", "a.example/large/app:1"); done <- err }()
				synctest.Wait()
				taken, trying, err := c.gates.pass(c.one(head("a.example/large/other:1", "b")).gates(), true)
				if len(taken) > 0 || trying != nil || err != nil {
					t.Errorf("gates of another repository: %v, %v, %v, want them open", taken, trying, err)
				}
				own := c.one(head("a.example/large/app:1", "b")).gates()
				if taken, trying, err = c.gates.pass(own, true); trying != nil || err != nil {
					t.Errorf("gates of the repository: %v, %v, want that others may try them", trying, err)
				}
				c.gates.done(taken, false)
				if err := <-done; !errors.Is(err, errNoRoom) {
					t.Errorf("get = %v, want no room", err)
				}
				taken, trying, err = c.gates.pass(own, true)
				if len(taken) > 0 || trying != nil || err != nil {
					t.Errorf("gates of the repository: %v, %v, %v, want them open", taken, trying, err)
				}
			})
		})
	}
}

// TestReadBody checks bodies of all sizes, with and without a declared size, complete and cut.
func TestReadBody(t *testing.T) {
	for _, size := range []int{
		0, 1, freeBody - 1, freeBody, freeBody + 1, 1 << 20, MaxManifest, MaxManifest + 1,
	} {
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for name, tt := range map[string]struct {
			declared int
			err      error
		}{
			"declared":     {size, nil},
			"not declared": {-1, nil},
			"cut":          {size + 1, failure.Unavailable},
		} {
			var r io.Reader = bytes.NewReader(want)
			if tt.err != nil {
				r = io.MultiReader(r, failing{errors.New("connection reset")})
			}
			tooLarge := size > MaxManifest || tt.declared > MaxManifest
			q := &fair.Queue{Capacity: MaxManifest}
			l := &lookup{client: &Client{Manifests: q}}
			m := &Manifest{}
			err := l.readBody(t.Context(), m, r, int64(tt.declared))
			switch {
			case tooLarge:
				if !errors.Is(err, failure.Invalid) {
					t.Errorf("%d bytes, %s: %v, want that it is too large", size, name, err)
				}
			case !errors.Is(err, tt.err) || tt.err == nil && !bytes.Equal(m.Body, want):
				t.Errorf("%d bytes, %s: %d, %v, want %v", size, name, len(m.Body), err, tt.err)
			}
			if held := q.Stats().InUse; (held > 0) != (err == nil && size >= freeBody) {
				t.Errorf("%d bytes, %s: %d bytes of the queue are held", size, name, held)
			}
			m.Release()
			if held := q.Stats().InUse; held != 0 {
				t.Errorf("%d bytes, %s: %d bytes of the queue are held after release", size, name, held)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
