// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // the auth provider of some kubeconfigs
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Requests to the API server. It protects itself by priority and fairness.
const qps, burst = 50, 100

// Connection says which cluster to read.
type Connection struct {
	// Kubeconfig is the path of a kubeconfig. If empty, it is $KUBECONFIG or ~/.kube/config or, in a
	// pod, the pod's own service account.
	Kubeconfig string
	// Context is the name of a context in the kubeconfig. If empty, it is the current one.
	Context   string
	UserAgent string
}

// Server is the API server of a cluster.
type Server struct {
	Client rest.Interface // for the core group's v1
	Name   string         // that the kubeconfig gives the cluster, or empty
	InPod  bool           // the login is that of this pod's service account
}

// podToken is the file with the token of a pod's service account.
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Open returns the API server. It does not connect.
func (c Connection) Open() (s Server, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return Server{}, explainConfig(err)
	}
	s.InPod = config.BearerTokenFile == podToken
	config.QPS, config.Burst, config.UserAgent = qps, burst, c.UserAgent
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{Version: "v1"}, "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if s.Client, err = rest.RESTClientFor(config); err != nil {
		return Server{}, explainConfig(err)
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return s, nil //nolint:nilerr // in a pod, there is no kubeconfig, and so no name
	}
	name := raw.CurrentContext
	if c.Context != "" {
		name = c.Context
	}
	if known := raw.Contexts[name]; known != nil {
		s.Name = known.Cluster
	}
	return s, nil
}

// explainConfig returns the error of a kubeconfig, with what to do about it.
func explainConfig(err error) error {
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, clientcmd.ErrEmptyCluster) {
		return errors.New("there is no kubeconfig; name one by --kubeconfig or $KUBECONFIG, " +
			"or run in a pod with a service account")
	}
	return fmt.Errorf("kubeconfig: %w", err)
}
