// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefused gives what is wrong, and what both Helms say of it.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ values, want string }{
		// Spelling and types: by the schema.
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
		// Contradictions: by the templates, each in one sentence.
		{"{pin: [workloads]}", "pin is [workloads, pods], or [pods] alone"},
		{"{podLabels: {app.kubernetes.io/name: other}}", "podLabels can't set app.kubernetes.io/name"},
		{"{commonLabels: {app.kubernetes.io/name: other}}", "commonLabels can't set app.kubernetes.io/name"},
		{"{serviceMonitor: {labels: {app.kubernetes.io/name: other}}}", "serviceMonitor.labels can't set app.kubernetes.io/name"},
		{"{extraCAs: [{configMap: ca}, {secret: ca}]}", "extraCAs has a name twice"},
		{"{failurePolicy: Ignore}", "failurePolicy: Ignore needs pin: [pods], since"},
		{"{pullSecretAccess: namespaces}", "pullSecretNamespaces lists the namespaces of pullSecretAccess: namespaces"},
		{"{pullSecretNamespaces: [shop]}", "pullSecretNamespaces lists the namespaces of pullSecretAccess: namespaces"},
		{"{certificates: {mode: given, secret: tls}}", "certificates.mode: given needs certificates.caBundle"},
		{"{certificates: {mode: given, caBundle: " + quoted + "}}", "certificates.mode: given needs certificates.secret"},
		{"{certificates: {mode: cert-manager, issuerRef: {kind: ClusterIssuer}}}", "certificates.issuerRef needs the issuer's name"},
		{"{certificates: {caBundle: " + quoted + "}}", "certificates.caBundle is for certificates.mode: given alone"},
		{"{certificates: {issuerRef: {name: ca}}}", "certificates.issuerRef is for certificates.mode: cert-manager alone"},
		{"{registration: manual}", "registration: manual needs certificates.mode: given or cert-manager"},
		{"{registration: manual, certificates: {mode: cert-manager}, keepOnly: true}", "registration: manual leaves keepOnly, namespaces"},
		{"{registration: manual, certificates: {mode: cert-manager}, namespaces: opt-out}", "registration: manual leaves keepOnly, namespaces"},
		{"{registration: manual, certificates: {mode: cert-manager}, webhookAnnotations: {a: b}}", "registration: manual leaves keepOnly, namespaces"},
		{"{ports: {metrics: 9443}}", "ports takes three ports that differ"},
		{"{clientCA: {configMap: a, secret: b}}", "clientCA has a configMap and a secret, and takes one of them"},
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
					t.Errorf("Helm %s takes it, want %q", helm, tt.want)
				case strings.Count(err.Error(), tt.want) != 1:
					t.Errorf("Helm %s says %q, want %q once", helm, err, tt.want)
				}
			}
		})
	}
}

// What a parent chart hands down is none of the chart's, and no mistake; nor is the condition by which the parent has it.
func TestOfAParentChart(t *testing.T) {
	if _, err := render(values(t, "{global: {imageRegistry: x}, enabled: true}")); err != nil {
		t.Error(err)
	}
}

// TestNull gives each value as null, which takes its default away: what can do without is rendered without gaps, and the rest
// refused with the value's name.
func TestNull(t *testing.T) {
	all := nulls(defaults(t), "", func(v any) any { return v })
	for path, set := range all {
		_, name := filepath.Split(path)
		for helm, render := range map[string]func(map[string]any) (map[string]string, error){"3": render3, "4": render} {
			files, err := render(set.(object))
			if err != nil && !strings.Contains(err.Error(), "missing property '"+name+"'") {
				t.Errorf("Helm %s, %s: null: %v", helm, path, err)
			}
			for key, o := range objects(t, files) {
				full(t, path+": null: "+key, o)
			}
		}
	}
	for _, path := range []string{"config", "priorityClassName", "resources", "user", "excludedNamespaces", "commonLabels", "apiServer/from"} {
		if _, err := render(all[path].(object)); err != nil {
			t.Errorf("%s: null: %v", path, err)
		}
	}
}

// nulls are values in which one is null, by its path; in wraps them in those above.
func nulls(defaults object, prefix string, in func(any) any) map[string]any {
	all := map[string]any{}
	for name, value := range defaults {
		all[prefix+name] = in(object{name: nil})
		if inner, ok := value.(object); ok {
			maps.Copy(all, nulls(inner, prefix+name+"/", func(v any) any { return in(object{name: v}) }))
		}
	}
	return all
}

// full: no field is null.
func full(t *testing.T, where string, o any) {
	t.Helper()
	switch o := o.(type) {
	case nil:
		t.Errorf("%s is null", where)
	case object:
		for key, value := range o {
			full(t, where+"."+key, value)
		}
	case []any:
		for _, value := range o {
			full(t, where+"[]", value)
		}
	}
}
