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
		{"{config: {templates: [{kind: Task, images: []}]}}", "'/config/templates/0/images': minItems: got 0, want 1"},
		{"{config: {templates: [{kind: Task}]}}", "missing property 'images'"},
		{"{config: {skipOwners: [{owner: a/B}]}}", "'/config/skipOwners/0': missing property 'users'"},
		{"{replicas: -1}", "'/replicas': minimum: got -1, want 0"},
		{"{replicas: '2'}", "'/replicas': got string, want "},
		{"{autoscaling: {metrics: []}}", "'/autoscaling/metrics': minItems: got 0, want 1"},
		{"{strategy: {maxSurge: 1}}", "'/strategy': additional properties 'maxSurge' not allowed"},
		{"{terminationGracePeriodSeconds: 10}", "'/terminationGracePeriodSeconds': minimum: got 10, want 30"},
		{"{livenessProbe: {httpGet: {}}}", "'/livenessProbe': additional properties 'httpGet' not allowed"},
		{"{dnsPolicy: Cluster}", "'/dnsPolicy': value must be one of"},
		{"{hostAliases: [{ip: 192.0.2.1}]}", "'/hostAliases/0': missing property 'hostnames'"},
		{"{topologySpreadConstraints: [{topologyKey: zone}]}", "missing properties 'maxSkew', 'whenUnsatisfiable'"},
		{"{serviceAccount: {name: Pins}}", "'/serviceAccount/name': 'Pins' does not match pattern"},
		{"{service: {ipFamilies: [IPv5]}}", "'/service/ipFamilies/0': value must be one of 'IPv4', 'IPv6'"},
		{"{extraArgs: [1]}", "'/extraArgs/0': got number, want string"},
		{"{envFrom: [{secret: a}]}", "'/envFrom/0': additional properties 'secret' not allowed"},
		{"{networkPolicy: {egress: [{port: 1}]}}", "'/networkPolicy/egress/0': additional properties 'port' not allowed"},
		{"{serviceMonitor: {scrapeTimeout: 5}}", "'/serviceMonitor/scrapeTimeout': got number, want string"},
		{"{global: {imageRegistry: 1}}", "'/global/imageRegistry': got number, want "},
		{"{pin: [deployments]}", "'/pin/0': value must be one of 'workloads', 'pods'"},
		{"{namespaces: all}", "'/namespaces': value must be one of 'opt-in', 'opt-out'"},
		{"{defaultMode: keep}", "'/defaultMode': value must be one of 'dry-run', 'enforce'"},
		{"{failurePolicy: ignore}", "'/failurePolicy': value must be one of 'Fail', 'Ignore'"},
		{"{namespaceSelector: {matchNames: {}}}", "'/namespaceSelector': additional properties 'matchNames' not allowed"},
		{"{namespaceSelector: {matchLabels: {team: 1}}}", "'/namespaceSelector/matchLabels/team': got number, want string"},
		{"{namespaceSelector: {matchLabels: {'a b': c}}}", "'a b' does not match pattern"},
		{"{objectSelector: {matchLabels: {a: 'b c'}}}", "'/objectSelector/matchLabels/a': 'b c' does not match pattern"},
		{"{objectSelector: {matchExpressions: [{key: a, operator: Is}]}}", "'/objectSelector/matchExpressions/0/operator': value must be one of 'In', 'NotIn', 'Exists', 'DoesNotExist'"},
		{"{objectSelector: {matchExpressions: [{key: a, operator: In}]}}", "'/objectSelector/matchExpressions/0': missing property 'values'"},
		{"{objectSelector: {matchExpressions: [{key: a, operator: In, values: []}]}}", "'/objectSelector/matchExpressions/0/values': minItems: got 0, want 1"},
		{"{objectSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}", "'/objectSelector/matchExpressions/0/values': maxItems: got 1, want 0"},
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
		{"{prometheusRule: {groupBy: [k8s-cluster]}}", "'/prometheusRule/groupBy/0': 'k8s-cluster' does not match pattern"},
		{"{prometheusRule: {alertLabels: {a.b: c}}}", "invalid propertyName 'a.b'"},
		{"{prometheusRule: {thresholds: {TagpinDenies: 25}}}", "'/prometheusRule/thresholds/TagpinDenies': exclusiveMaximum: got 25, want 1"},
		{"{prometheusRule: {thresholds: {TagpinBug: 1}}}", "additional properties 'TagpinBug' not allowed"},
		{"{prometheusRule: {runbooks: wiki}}", "'/prometheusRule/runbooks': 'wiki' does not match pattern"},
		{"{dashboard: {clusterLabel: ''}}", "'/dashboard/clusterLabel': '' does not match pattern"},
		// The templates refuse contradictions.
		{"{prometheusRule: {enabled: true, disabled: [TagpinDenied]}}", "prometheusRule.disabled has TagpinDenied, but there is no such alert"},
		{"{pin: [workloads]}", "pin must contain pods: otherwise"},
		{"{podLabels: {app.kubernetes.io/name: other}}", "podLabels can't set app.kubernetes.io/name"},
		{"{commonLabels: {app.kubernetes.io/name: other}}", "commonLabels can't set app.kubernetes.io/name"},
		{"{podLabels: {app.kubernetes.io/component: other}}", "podLabels can't set app.kubernetes.io/component"},
		{"{metadata: {Service: {labels: {app.kubernetes.io/name: other}}}}", "metadata.Service.labels can't set app.kubernetes.io/name"},
		{"{metadata: {Pod: {}}}", "'/metadata': additional properties 'Pod' not allowed"},
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
		{"{registration: manual, certificates: {mode: cert-manager}, webhookAnnotations: {a: b}}", "with registration: manual, set webhookAnnotations"},
		{"{pin: [pods], objectSelector: {matchLabels: {a: b}}}", "objectSelector requires pin: [workloads, pods]"},
		{"{ports: {metrics: 10250}}", "the three ports must differ"},
		{"{image: {tag: ''}}", "set image.repository, and image.digest or image.tag: nobody publishes an image"},
		{"{hostNetwork: true}", "with hostNetwork, set ports.webhook to a port that is free on the nodes"},
		{"{hostNetwork: true, ports: {webhook: 9443, probes: 10250}}", "port 10250 is the kubelet's"},
		{"{extraEnv: [{name: POD_NAMESPACE, value: a}]}", "extraEnv can't set POD_NAMESPACE and TAGPIN_IMAGE"},
		{"{extraEnv: [{name: A, value: a}, {name: A, value: b}]}", "extraEnv has a name twice"},
		{"{proxy: {secret: a, https: 'http://a'}}", "proxy must have a secret, or https and http, not both"},
		{"{autoscaling: {enabled: true, minReplicas: 9}}", "autoscaling.minReplicas must not be greater than autoscaling.maxReplicas"},
		{"{clientCA: {configMap: a, secret: b}}", "clientCA must have a configMap or a secret, not both"},
		{"{config: {registration: {pin: [pods]}}}", "config.registration contradicts the values of the chart that set it: pin"},
		{"{config: {registration: {failurePolicy: Ignore}}}", "config.registration contradicts the values of the chart that set it: pin"},
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
