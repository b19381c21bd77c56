// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/e2e/pki"
)

// modeLabel is the label of a namespace that switches tagpin on.
const modeLabel = "tagpin.dev/mode"

// dryRun makes the API server store nothing, but call webhooks.
func dryRun() metav1.CreateOptions {
	return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
}

// Place is a cluster with tagpin.
type Place struct {
	Config *rest.Config // of an administrator
	// CA signs the certificates of tenants' registries. tagpin trusts it for every host, as it
	// trusts public authorities elsewhere.
	CA *pki.CA
	// Listen listens at an address for a registry that tagpin can reach.
	Listen func(ctx context.Context) (net.Listener, error)
	// Ports are tagpin's ports. Dial connects to them as any pod could.
	Ports []Port
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// Port is a port of tagpin.
type Port struct {
	Name, Address string
	TLS           bool
}

// Tenant is a namespace with its registries, and the messages that its user got.
type Tenant struct {
	Namespace string
	Client    kubernetes.Interface
	place     Place
	others    []*Tenant // further namespaces of the same tenant

	mu       sync.Mutex
	hosts    []*Host
	messages []string
}

// NewTenant creates a namespace in the mode enforce. The caller must call Close.
func NewTenant(ctx context.Context, place Place) (*Tenant, error) {
	t := &Tenant{place: place}
	config := rest.CopyConfig(place.Config)
	config.QPS, config.WarningHandler, config.WarningHandlerWithContext = -1, t, nil
	var err error
	if t.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "tenant-", Labels: map[string]string{modeLabel: "enforce"},
	}}
	ns, err = t.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	t.Namespace = ns.Name
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err = t.Client.CoreV1().ServiceAccounts(ns.Name).Create(ctx, account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) { // a controller may have made it
		return nil, err
	}
	return t, nil
}

// more creates further namespaces, which Close deletes too.
func (t *Tenant) more(ctx context.Context, namespaces int) error {
	for range namespaces {
		other, err := NewTenant(ctx, t.place)
		if err != nil {
			return err
		}
		t.others = append(t.others, other)
	}
	return nil
}

// Close deletes the namespaces and stops the tenant's registries.
func (t *Tenant) Close(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hosts {
		h.close()
	}
	var errs []error
	for _, other := range t.others {
		errs = append(errs, other.Close(ctx))
	}
	err := t.Client.CoreV1().Namespaces().Delete(ctx, t.Namespace, metav1.DeleteOptions{})
	return errors.Join(append(errs, err)...)
}

// HandleWarningHeader implements rest.WarningHandler.
func (t *Tenant) HandleWarningHeader(_ int, _, text string) { t.note("warning: " + text) }

func (t *Tenant) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages = append(t.messages, text)
}

// Messages returns the warnings and errors that the tenant's user got.
func (t *Tenant) Messages() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.messages...)
}

// deploy creates a Deployment or a Pod as a dry run, and returns its images as they would be
// stored. The user gets the error as a message.
func (t *Tenant) deploy(ctx context.Context, o any) (images []string, err error) {
	var spec *corev1.PodSpec
	switch o := o.(type) {
	case *corev1.Pod:
		got, e := t.Client.CoreV1().Pods(t.Namespace).Create(ctx, o, dryRun())
		spec, err = &got.Spec, e
	case *deployment:
		got, e := t.Client.AppsV1().Deployments(t.Namespace).Create(ctx, o, dryRun())
		spec, err = &got.Spec.Template.Spec, e
	default:
		return nil, fmt.Errorf("can't create a %T", o)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			t.note("error: " + err.Error())
		}
		return nil, err
	}
	for i := range spec.Containers {
		images = append(images, spec.Containers[i].Image)
	}
	return images, nil
}

// secret creates a pull secret with a Docker config.
func (t *Tenant) secret(ctx context.Context, name string, config []byte) error {
	_, err := t.Client.CoreV1().Secrets(t.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	}, metav1.CreateOptions{})
	return err
}
