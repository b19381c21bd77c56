// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRefused checks the error for invalid values, with Helm 3 and Helm 4.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ values, want string }{
		// The schema refuses unknown names and wrong types.
		{"{replica: 3}", "additional properties 'replica' not allowed"},
		{"{image: {name: x}}", "'/image': additional properties 'name' not allowed"},
		{"{config: {outptu: digest}}", "'/config': additional properties 'outptu' not allowed"},
		{"{config: {registries: [{host: a.b, mirror: []}]}}", "'/config/registries/0': additional properties 'mirror' not allowed"},
		{"{config: {registries: [{timeout: 1s}]}}", "'/config/registries/0': missing property 'host'"},
		{"{config: {output: digests}}", "'/config/output': value must be one of 'tag-and-digest', 'digest'"},
		{"{config: {onFailure: {notFound: no}}}", "'/config/onFailure/notFound': got boolean, want string"},
		{"{config: {onFailure: {notFound: never}}}", "'/config/onFailure/notFound': value must be one of 'deny', 'defer', 'allow'"},
		{"{config: {cache: {ttl: 30}}}", "'/config/cache/ttl': got number, want string"},
		{"{config: {cache: {ttl: 30x}}}", "'/config/cache/ttl': '30x' does not match pattern"},
		{"{config: {cache: {size: 0}}}", "'/config/cache/size': minimum: got 0, want 1"},
		{"{config: {kind: Conf}}", "'/config/kind': value must be 'Config'"},
		{"{config: {credentials: {clouds: [aws]}}}", "'/config/credentials/clouds/0': value must be one of 'google', 'amazon', 'azure'"},
		{"{config: {network: {allow: [10.0.0.1]}}}", "'/config/network/allow/0': '10.0.0.1' does not match pattern"},
		{"{config: {templates: [{kind: Rollout, paths: []}]}}", "'/config/templates/0/paths': minItems: got 0, want 1"},
		{"{config: {skipOwners: [{owner: a/B}]}}", "'/config/skipOwners/0': missing property 'users'"},
		{"{replicas: 0}", "'/replicas': minimum: got 0, want 1"},
		{"{replicas: '2'}", "'/replicas': got string, want integer"},
		{"{pin: [deployments]}", "'/pin/0': value must be one of 'workloads', 'pods'"},
		{"{namespaces: all}", "'/namespaces': value must be one of 'opt-in', 'opt-out'"},
		{"{defaultMode: keep}", "'/defaultMode': value must be one of 'dry-run', 'enforce'"},
		{"{failurePolicy: ignore}", "'/failurePolicy': value must be one of 'Fail', 'Ignore'"},
		{"{timeoutSeconds: 16}", "'/timeoutSeconds': maximum: got 16, want 15"},
		{"{pullSecretAccess: all}", "'/pullSecretAccess': value must be one of 'cluster', 'namespaces', 'none'"},
		{"{pullSecretNamespaces: [Shop]}", "'/pullSecretNamespaces/0': 'Shop' does not match pattern"},
		{"{certificates: {mode: mounted}}", "'/certificates/mode': value must be one of 'self-managed', 'cert-manager', 'given'"},
		{"{certificates: {mode: given, caBundle: LS0tLS1=}}", "'/certificates/caBundle': 'LS0tLS1=' does not match pattern"},
		{"{apiServer: {cidrs: [192.0.2.1]}}", "'/apiServer/cidrs/0': '192.0.2.1' does not match pattern"},
		{"{apiServer: {from: [192.0.2.1/32]}}", "'/apiServer/from/0': got string, want object"},
		{"{webhookAnnotations: {admissions.enforcer/disabled: true}}", "'/webhookAnnotations/admissions.enforcer~1disabled': got boolean, want string"},
		{"{image: {repository: 'r/a:v1'}}", "'/image/repository': 'r/a:v1' does not match pattern"},
		{"{image: {digest: 'sha256:12'}}", "'/image/digest': 'sha256:12' does not match pattern"},
		{"{proxy: {https: proxy:3128}}", "'/proxy/https': 'proxy:3128' does not match pattern"},
		{"{extraCAs: [{configMap: a, secret: b}]}", "'/extraCAs/0': maxProperties: got 2, want 1"},
		{"{resources: {limit: {}}}", "'/resources': additional properties 'limit' not allowed"},
		// The templates refuse contradictions.
		{"{pin: [workloads]}", "pin must contain pods: otherwise"},
		{"{podLabels: {app.kubernetes.io/name: other}}", "podLabels can't set app.kubernetes.io/name"},
		{"{commonLabels: {app.kubernetes.io/name: other}}", "commonLabels can't set app.kubernetes.io/name"},
		{"{serviceMonitor: {labels: {app.kubernetes.io/name: other}}}", "serviceMonitor.labels can't set app.kubernetes.io/name"},
		{"{extraCAs: [{configMap: ca}, {secret: ca}]}", "extraCAs has a name twice"},
		{"{failurePolicy: Ignore}", "failurePolicy: Ignore requires pin: [pods]: "},
		{"{pullSecretAccess: namespaces}", "pullSecretAccess: namespaces and pullSecretNamespaces require each other"},
		{"{pullSecretNamespaces: [shop]}", "pullSecretAccess: namespaces and pullSecretNamespaces require each other"},
		{"{certificates: {mode: given, secret: tls}}", "certificates.mode: given requires certificates.caBundle"},
		{"{certificates: {mode: given, caBundle: " + quoted + "}}", "certificates.mode: given requires certificates.secret"},
		{"{certificates: {mode: cert-manager, issuerRef: {kind: ClusterIssuer}}}", "certificates.issuerRef requires the name of the issuer"},
		{"{certificates: {caBundle: " + quoted + "}}", "certificates.caBundle requires certificates.mode: given"},
		{"{certificates: {issuerRef: {name: ca}}}", "certificates.issuerRef requires certificates.mode: cert-manager"},
		{"{registration: manual}", "registration: manual requires certificates.mode: given or cert-manager"},
		{"{registration: manual, certificates: {mode: cert-manager}, keepOnly: true}", "with registration: manual, set keepOnly, namespaces"},
		{"{registration: manual, certificates: {mode: cert-manager}, namespaces: opt-out}", "with registration: manual, set keepOnly, namespaces"},
		{"{registration: manual, certificates: {mode: cert-manager}, webhookAnnotations: {a: b}}", "with registration: manual, set keepOnly, namespaces"},
		{"{ports: {metrics: 9443}}", "the three ports must differ"},
		{"{clientCA: {configMap: a, secret: b}}", "clientCA must have a configMap or a secret, not both"},
		{"{config: {registration: {pin: [pods]}}}", "config.registration contradicts the values pin and registration"},
		{"{config: {certificates: {mode: mounted}}}", "config.certificates contradicts the value certificates"},
		{"{pullSecretAccess: none, config: {credentials: {pullSecrets: true}}}", "config.credentials.pullSecrets contradicts the value pullSecretAccess"},
	} {
		t.Run(tt.values, func(t *testing.T) {
			_, err := render(values(t, tt.values))
			_, err3 := render3(values(t, tt.values))
			for helm, err := range map[string]error{"4": err, "3": err3} {
				switch {
				case err == nil:
					t.Errorf("Helm %s accepts the values, want the error %q", helm, tt.want)
				case strings.Count(err.Error(), tt.want) != 1:
					t.Errorf("Helm %s returns the error %q, want %q once", helm, err, tt.want)
				}
			}
		})
	}
}

// TestParentChart checks that the schema accepts the values that a parent chart adds: its global
// values, and the condition that enables this chart.
func TestParentChart(t *testing.T) {
	if _, err := render(values(t, "{global: {imageRegistry: x}, enabled: true}")); err != nil {
		t.Error(err)
	}
}

// TestNull sets each value to null, which removes its default. If a value is required, the error
// must name it. Otherwise the rendered objects must not have a field that is null.
func TestNull(t *testing.T) {
	renderers := map[string]func(map[string]any) (map[string]string, error){
		"3": render3, "4": render,
	}
	all := nulls(defaults(t), "")
	for path, values := range all {
		_, name := filepath.Split(path)
		for helm, render := range renderers {
			files, err := render(values)
			if err != nil && !strings.Contains(err.Error(), "missing property '"+name+"'") {
				t.Errorf("Helm %s, %s: null: %v", helm, path, err)
			}
			for key, o := range objects(t, files) {
				checkNoNull(t, path+": null: "+key, o)
			}
		}
	}
	for _, path := range []string{
		"config", "priorityClassName", "resources", "user", "excludedNamespaces", "commonLabels",
		"apiServer/from",
	} {
		if _, err := render(all[path]); err != nil {
			t.Errorf("%s: null: %v", path, err)
		}
	}
}

// nulls returns values for each path in the defaults. In them, the value at this path is null, and
// no others are set.
func nulls(defaults object, prefix string) map[string]object {
	all := map[string]object{}
	for name, value := range defaults {
		all[prefix+name] = object{name: nil}
		if inner, ok := value.(object); ok {
			for path, values := range nulls(inner, prefix+name+"/") {
				all[path] = object{name: values}
			}
		}
	}
	return all
}

func checkNoNull(t *testing.T, where string, o any) {
	t.Helper()
	switch o := o.(type) {
	case nil:
		t.Errorf("%s is null", where)
	case object:
		for key, value := range o {
			checkNoNull(t, where+"."+key, value)
		}
	case []any:
		for _, value := range o {
			checkNoNull(t, where+"[]", value)
		}
	}
}
