// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

func serveRaw(ctx context.Context, dir string, port int) error {
	server := &http.Server{
		Addr: fmt.Sprint("127.0.0.1:", port), Handler: NewRaw(), ReadHeaderTimeout: 10 * time.Second,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.ListenAndServeTLS(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// NewRaw returns a handler that reads a review, finds its UID by a search of the bytes, and
// responds with a constant patch.
func NewRaw() http.Handler { return http.HandlerFunc(answerRaw) }

func answerRaw(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, max(0, r.ContentLength))
	_, err := io.ReadFull(r.Body, body)
	_, rest, found := bytes.Cut(body, []byte(`"uid":"`))
	uid, _, closed := bytes.Cut(rest, []byte(`"`))
	if err != nil || !found || !closed {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	answer := make([]byte, 0, 512)
	answer = append(answer, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",`+
		`"response":{"uid":"`...)
	answer = append(answer, uid...)
	answer = append(answer, `","allowed":true,"patchType":"JSONPatch","patch":"`...)
	answer = base64.StdEncoding.AppendEncode(answer,
		[]byte(`[{"op":"replace","path":"/spec/containers/0/image","value":"`+Image+`"}]`))
	answer = append(answer, `"}}`...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer) // the client may have hung up
}
