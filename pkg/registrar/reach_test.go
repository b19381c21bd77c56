// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// listenTLS serves the certificate of a Registrar, and demands one from callers, as --client-ca
// does. It returns the bundle that trusts the certificate, and the port.
func listenTLS(t *testing.T) (bundle []byte, port int32) {
	t.Helper()
	w := newFixture(t)
	w.look(t.Context())
	config := &tls.Config{
		GetCertificate: w.Source.Get, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until the test ends
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	number := listener.Addr().(*net.TCPAddr).Port
	return w.live().Webhooks[0].ClientConfig.CABundle, int32(number) //nolint:gosec // a port
}

// TestDial checks that a webhook is reached where an API server would connect, if its certificate
// is trusted by the registration.
func TestDial(t *testing.T) {
	bundle, port := listenTLS(t)
	_, other := listenTLS(t)
	service := func(name string, spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ownSpace, Name: name}, Spec: spec}
	}
	url := "https://127.0.0.1:" + strconv.Itoa(int(port)) + "/enforce"
	at := func(name string, port int32) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{
			CABundle: bundle,
			Service: &admissionregistrationv1.ServiceReference{
				Namespace: ownSpace, Name: name, Port: &port,
			},
		}
	}
	clusterIP := corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "127.0.0.1"}
	reaching := func(services ...runtime.Object) *Registrar {
		return &Registrar{Config: Config{
			Client: fake.NewClientset(services...), Source: &certificate.Source{Now: time.Now},
		}}
	}
	h := reaching(service("tagpin-webhook", clusterIP), service("renamed", clusterIP))
	external := reaching(service("tagpin-webhook",
		corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"}))
	for name, tt := range map[string]struct {
		from   *Registrar
		config admissionregistrationv1.WebhookClientConfig
		want   string // of the error; empty if the webhook is reached
	}{
		"by its address":        {h, at("tagpin-webhook", port), ""},
		"by an external name":   {external, at("tagpin-webhook", port), ""},
		"another's certificate": {h, at("tagpin-webhook", other), "certificate signed by unknown authority"},
		"another name":          {h, at("renamed", port), "not renamed.tagpin-system.svc"},
		"no Service":            {h, at("none", port), "reading service none"},
		"no endpoint":           {h, at("tagpin-webhook", 1), "connecting to 127.0.0.1:1"},
		"a URL":                 {h, admissionregistrationv1.WebhookClientConfig{CABundle: bundle, URL: &url}, "127.0.0.1"},
		"nothing":               {h, admissionregistrationv1.WebhookClientConfig{}, "neither a service nor a URL"},
	} {
		w := &admissionregistrationv1.MutatingWebhook{Name: "enforce.tagpin.dev", ClientConfig: tt.config}
		switch err := tt.from.dial(t.Context(), w); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: dial = %v, want nil", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: dial = %v, want %q", name, err, tt.want)
		}
	}
}
