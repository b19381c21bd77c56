// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lint3 "helm.sh/helm/v3/pkg/lint"
	support3 "helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/config"
)

// TestCases lints and renders the chart with the values in ci. Helm 3 and Helm 4 must report no
// warning and render the same.
func TestCases(t *testing.T) {
	for name, v := range cases(t) {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.RunAll(chartDir, withImage(v), namespace).Messages {
				if m.Severity >= support.WarningSev {
					t.Errorf("lint by Helm 4: %v", m)
				}
			}
			for _, m := range lint3.All(chartDir, withImage(v), namespace, true).Messages {
				if m.Severity >= support3.WarningSev {
					t.Errorf("lint by Helm 3: %v", m)
				}
			}
			files, err := render(v)
			if err != nil {
				t.Fatal(err)
			}
			files3, err := render3(v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(files3, files); diff != "" {
				t.Errorf("rendered files differ (-Helm 3 +Helm 4):\n%s", diff)
			}
			for file, text := range files {
				checkFormat(t, file, text)
			}
			checkObjects(t, objects(t, files))
		})
	}
}

// checkFormat checks that a rendered file has a licence, and no empty lines or trailing spaces.
func checkFormat(t *testing.T, file, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "# SPDX-License-Identifier: Apache-2.0\n") {
		t.Errorf("%s does not begin with the SPDX line", file)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if line != strings.TrimRight(line, " ") || line == "" && file != "dashboard.yaml" {
			t.Errorf("%s has an empty line or a trailing space:\n%s", file, text)
			return
		}
	}
}

// checkObjects checks what must be the same with all values.
func checkObjects(t *testing.T, all map[string]object) {
	t.Helper()
	for key, o := range all {
		if strings.HasPrefix(key, "ConfigMap extra") { // of extraObjects
			continue
		}
		labels, _ := at(o, "metadata", "labels").(object)
		component := "webhook"
		if strings.Contains(key, " tagpin-audit") {
			component = "audit"
		}
		for label, want := range map[string]any{
			"app.kubernetes.io/name": "tagpin", "app.kubernetes.io/component": component,
			"app.kubernetes.io/instance": "tagpin", "app.kubernetes.io/managed-by": "Helm",
			"helm.sh/chart": "tagpin-0.0.0",
		} {
			if labels[label] != want {
				t.Errorf("%s has the label %s: %v, want %v", key, label, labels[label], want)
			}
		}
	}
	if audit := all["Deployment tagpin-audit"]; audit != nil {
		checkPod(t, at(audit, "spec", "template", "spec"), "/healthz")
	}
	configFile := at(all["ConfigMap tagpin-webhook"], "data", "config.yaml").(string)
	if _, err := config.Parse([]byte(configFile)); err != nil {
		t.Errorf("config.Parse(%q): %v", configFile, err)
	}
	checkPod(t, at(all["Deployment tagpin-webhook"], "spec", "template", "spec"), "/readyz")
	for _, w := range webhooks(all) {
		if at(w, "rules") != nil || at(w, "matchConditions") != nil {
			t.Errorf("webhook %v has rules, which only a server may add", at(w, "name"))
		}
	}
}

// checkPod checks what must be the same in the pods of all Deployments. ready is the path of the
// readiness probe.
func checkPod(t *testing.T, pod any, ready string) {
	t.Helper()
	for path, want := range map[string]any{
		"securityContext.runAsNonRoot":                          true,
		"securityContext.seccompProfile.type":                   "RuntimeDefault",
		"automountServiceAccountToken":                          true,
		"containers.0.securityContext.allowPrivilegeEscalation": false,
		"containers.0.securityContext.readOnlyRootFilesystem":   true,
		"containers.0.securityContext.capabilities.drop.0":      "ALL",
		"containers.0.resources.limits.cpu":                     nil,
		"containers.0.livenessProbe.httpGet.path":               "/healthz",
		"containers.0.readinessProbe.httpGet.path":              ready,
	} {
		if got := at(pod, steps(path)...); got != want {
			t.Errorf("the pod's %s = %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{"requests.cpu", "requests.memory", "limits.memory"} {
		if at(pod, append([]any{"containers", 0, "resources"}, steps(path)...)...) == nil {
			t.Errorf("the container has no %s", path)
		}
	}
}

func webhooks(all map[string]object) []any {
	list, _ := all["MutatingWebhookConfiguration zz-tagpin"]["webhooks"].([]any)
	return list
}

// steps splits a path such as containers.0.image into the arguments of at.
func steps(path string) []any {
	var all []any
	for part := range strings.SplitSeq(path, ".") {
		if n, err := strconv.Atoi(part); err == nil {
			all = append(all, n)
			continue
		}
		all = append(all, part)
	}
	return all
}

// rendered renders the chart with values given as YAML, and returns the objects.
func rendered(t *testing.T, text string) map[string]object {
	t.Helper()
	files, err := render(values(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, files)
}

// TestEffects checks the effects of values: which objects are rendered, and which texts they
// contain.
func TestEffects(t *testing.T) {
	const (
		deployment = "Deployment tagpin-webhook"
		policy     = "NetworkPolicy tagpin-webhook"
		account    = "ServiceAccount tagpin-webhook"
	)
	all := cases(t)
	for _, tt := range []struct {
		name, object string
		has, lacks   []string // texts in the object's JSON; if has is nil, the object is not rendered
	}{
		{"default", deployment, []string{`"image":"ghcr.io/tagpin/tagpin-webhook:set-by-your-overlay"`, `"--webhook-port=10250"`, `"priorityClassName":"system-cluster-critical"`, `"fieldPath":"metadata.namespace"`, `"replicas":2`}, []string{"client-ca", "HTTPS_PROXY", "SSL_CERT_DIR", "hostNetwork", "imagePullSecrets", "cert-dir", "tls"}},
		{"default", deployment, []string{`"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}`}, nil},
		{"host-network", deployment, []string{`"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}`}, nil},
		{"host-network", "Deployment tagpin-audit", []string{`"app.kubernetes.io/component":"audit"`}, []string{"hostNetwork"}},
		{"default", policy, []string{`"ingress":[{"ports":[{"port":10250`}, []string{"from", "Egress", "probes"}},
		{"default", deployment, []string{
			`"maxSurge":1,"maxUnavailable":0`, `"terminationGracePeriodSeconds":30`, `"revisionHistoryLimit":10`,
			`{"labelSelector":{"matchLabels":{"app.kubernetes.io/component":"webhook","app.kubernetes.io/name":"tagpin"}},` +
				`"matchLabelKeys":["pod-template-hash"],"maxSkew":1,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"ScheduleAnyway"}`,
			`"readinessProbe":{"httpGet":{"path":"/readyz","port":"probes"},"periodSeconds":2}`, `"serviceAccountName":"tagpin-webhook"`,
		}, []string{"startupProbe", "lifecycle", "envFrom", "hostAliases", "dnsPolicy", "runtimeClassName"}},
		{"host-network", deployment, []string{`"maxSurge":0,"maxUnavailable":1`}, nil},
		{"pod", deployment, []string{
			`"revisionHistoryLimit":0`, `"type":"Recreate"`, `"terminationGracePeriodSeconds":60`, `"runtimeClassName":"gvisor"`,
			`"dnsPolicy":"None"`, `"dnsConfig":{"nameservers":["192.0.2.53"],"options":[{"name":"ndots","value":"1"}]}`,
			`"hostAliases":[{"hostnames":["registry.internal"],"ip":"192.0.2.5"}]`,
			`"supplementalGroups":[1000]`, `"runAsNonRoot":true`, `"runAsUser":1000`, `"procMount":"Default"`,
			`"failureThreshold":5,"httpGet":{"path":"/healthz"`, `"httpGet":{"path":"/readyz","port":"probes"},"periodSeconds":2,"timeoutSeconds":3`,
			`"startupProbe":{"failureThreshold":30,"httpGet":{"path":"/healthz"`, `"preStop":{"sleep":{"seconds":5}}`,
			`"--log-level=info","--webhook-host=0.0.0.0"]`, `"envFrom":[{"secretRef":{"name":"env"}}]`,
			`"initContainers":[{`, `"name":"first"`, `"name":"beside"`,
			`"topologySpreadConstraints":[{"labelSelector":{},"maxSkew":2,"topologyKey":"rack","whenUnsatisfiable":"DoNotSchedule"}]`,
		}, nil},
		{"pod", "Service tagpin-webhook", []string{`"ipFamilies":["IPv4"],"ipFamilyPolicy":"PreferDualStack"`}, nil},
		{"pod", "PodDisruptionBudget tagpin-webhook", []string{`"minAvailable":"50%"`}, []string{"maxUnavailable", "unhealthy"}},
		{"default", "PodDisruptionBudget tagpin-webhook", []string{`"maxUnavailable":1`, `"unhealthyPodEvictionPolicy":"AlwaysAllow"`}, []string{"minAvailable"}},
		{"default", "HorizontalPodAutoscaler tagpin-webhook", nil, nil},
		{"autoscaling", "HorizontalPodAutoscaler tagpin-webhook", []string{
			`"maxReplicas":8`, `"minReplicas":3`, `"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"tagpin-webhook"}`,
			`"averageUtilization":200`, `"stabilizationWindowSeconds":600`,
		}, nil},
		{"autoscaling", deployment, []string{`"strategy"`}, []string{`"replicas"`}},
		{"accounts", account, nil, nil},
		{"accounts", deployment, []string{`"serviceAccountName":"pins"`}, nil},
		{"accounts", "ClusterRole tagpin-webhook", nil, nil},
		{"accounts", "ClusterRoleBinding tagpin-webhook", nil, nil},
		{"accounts", "Role tagpin-webhook", nil, nil},
		{"accounts", "RoleBinding tagpin-webhook", nil, nil},
		{"accounts", "Role tagpin-webhook-pull-secrets shop", nil, nil},
		{"accounts", "PodDisruptionBudget tagpin-webhook", nil, nil},
		{"parent", deployment, []string{
			`"image":"registry.example.com/hub/tagpin/tagpin-webhook:v1"`, `"imagePullSecrets":[{"name":"all"},{"name":"some"},{"name":"own"}]`,
		}, []string{"ghcr.io"}},
		{"parent", "ServiceAccount pins", []string{`"name":"pins"`}, nil},
		{"parent", "ClusterRoleBinding tagpin-webhook", []string{`{"kind":"ServiceAccount","name":"pins","namespace":"tagpin-system"}`}, nil},
		{"parent", "RoleBinding tagpin-webhook", []string{`{"kind":"ServiceAccount","name":"pins","namespace":"tagpin-system"}`}, nil},
		{"parent", "ConfigMap extra", []string{`"of":"tagpin"`}, nil},
		{"parent", "ConfigMap extra-text", []string{`"of":"tagpin-system"`}, nil},
		{"proxy-secret", deployment, []string{
			`{"name":"HTTPS_PROXY","valueFrom":{"secretKeyRef":{"key":"HTTPS_PROXY","name":"proxy","optional":false}}}`,
			`{"name":"HTTP_PROXY","valueFrom":{"secretKeyRef":{"key":"HTTP_PROXY","name":"proxy","optional":true}}}`,
			`{"name":"NO_PROXY","value":"registry.internal"}`, `{"name":"SSL_CERT_DIR","value":"/etc/tagpin-ca/company-ca"}`,
		}, []string{"KUBERNETES_SERVICE_HOST"}},
		{"egress", policy, []string{
			`"policyTypes":["Ingress","Egress"]`, `{"port":53,"protocol":"UDP"}`, `{"port":5353,"protocol":"UDP"}`,
			`{"ports":[{"port":10250,"protocol":"TCP"}],"to":[{"podSelector":{"matchLabels":{"app.kubernetes.io/component":"webhook","app.kubernetes.io/name":"tagpin"}}}]}`,
			`{"ports":[{"port":443}],"to":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}`,
		}, nil},
		{"default", "ResourceQuota tagpin-webhook", []string{`"values":["system-cluster-critical"]`}, nil},
		{"default", "Secret tagpin-webhook-tls", []string{`"type":"Opaque"`}, []string{`"data":`, "stringData"}},
		{"default", "ConfigMap tagpin-webhook", []string{`  name: zz-tagpin\n`, `  mode: self-managed\n`, `  pullSecrets: true\n`}, nil},
		{"bare", policy, nil, nil},
		{"bare", "ResourceQuota tagpin-webhook", nil, nil},
		{"openshift", "ResourceQuota tagpin-webhook", nil, nil},
		{"openshift", deployment, []string{"openshift-user-critical"}, []string{"runAsUser", "fsGroup"}},
		{"scheduling", deployment, []string{`"replicas":3`, `safe-to-evict":"true"`, "podAntiAffinity", "control-plane", `"kubernetes.io/os":"linux"`, `"team":"platform"`, `"cpu":1`}, []string{"priorityClassName"}},
		{"private", deployment, []string{
			`"registry.internal:5000/tagpin/tagpin-webhook@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"`, `"imagePullPolicy":"Always"`,
			`{"name":"SSL_CERT_DIR","value":"/etc/tagpin-ca/company-ca:/etc/tagpin-ca/team-ca"}`, `"mountPath":"/etc/tagpin-ca/team-ca","name":"ca-1"`,
			`{"name":"HTTPS_PROXY","value":"http://proxy.internal:3128"}`, `{"name":"NO_PROXY","value":"$(KUBERNETES_SERVICE_HOST),.svc,.cluster.local,169.254.0.0/16,fd00:ec2::/32,registry.internal,192.0.2.0/24"}`,
			`{"configMap":{"name":"company-ca"},"name":"ca-0"}`, `{"name":"ca-1","secret":{"secretName":"team-ca"}}`, `{"name":"GODEBUG","value":"netdns=go"}`, `"imagePullSecrets":[{"name":"pull"}]`,
		}, []string{":latest"}},
		{"host-network", deployment, []string{`"hostNetwork":true`, "ClusterFirstWithHostNet", `"--webhook-port=9443"`, `"--metrics-bind-address=:10251"`, `"containerPort":10252`}, nil},
		{"given", deployment, []string{`"secret":{"secretName":"pins-tls"}`, `"--cert-dir=/etc/tagpin-tls"`, `"--client-ca=/etc/tagpin-client-ca/client.crt"`, `{"name":"client-ca","secret":{"items":[{"key":"client.crt","path":"client.crt"}],"secretName":"api-server-ca"}}`}, nil},
		{"given", policy, []string{
			`"from":[{"podSelector":{"matchLabels":{"app.kubernetes.io/component":"webhook","app.kubernetes.io/name":"tagpin"}}},` +
				`{"ipBlock":{"cidr":"192.0.2.10/32"}},{"ipBlock":{"cidr":"2001:db8::/64"}}],"ports":[{"port":10250`,
		}, nil},
		{"given", "Secret pins-tls", nil, nil},
		{"given", "Role tagpin-webhook", []string{`"resources":["services"]`, `"resources":["namespaces"]`}, []string{"secrets"}},
		{"manual", "Role tagpin-webhook", nil, nil},
		{"manual", "RoleBinding tagpin-webhook", nil, nil},
		{"default", "Role tagpin-webhook", []string{
			`"resourceNames":["tagpin-webhook"],"resources":["services"],"verbs":["get"]`,
			`"resourceNames":["tagpin-system"],"resources":["namespaces"],"verbs":["get"]`,
		}, nil},
		{"default", deployment, []string{`{"name":"TAGPIN_IMAGE","value":"ghcr.io/tagpin/tagpin-webhook:set-by-your-overlay"}`}, nil},
		{"default", "MutatingWebhookConfiguration zz-tagpin", []string{
			`"tagpin.dev/image":"ghcr.io/tagpin/tagpin-webhook:set-by-your-overlay"`,
		}, nil},
		{"given", "ConfigMap tagpin-webhook", []string{`  mode: mounted\n  secret: pins-tls\n`}, nil},
		{"cert-manager", "Certificate tagpin-webhook", []string{"tagpin-webhook.tagpin-system.svc", `"secretName":"tagpin-webhook-cert-manager"`, `{"name":"tagpin-ca"}`}, nil},
		{"cert-manager", "Issuer tagpin-ca", []string{`"ca":{"secretName":"tagpin-ca"}`}, nil},
		{"cert-manager", "MutatingWebhookConfiguration zz-tagpin", []string{`"cert-manager.io/inject-ca-from":"tagpin-system/tagpin-webhook"`}, []string{"caBundle"}},
		{"cert-manager", "Secret tagpin-webhook-tls", nil, nil},
		{"cert-manager", deployment, []string{`"secret":{"secretName":"tagpin-webhook-cert-manager"}`}, []string{"tagpin-webhook-tls"}},
		{"managed-cluster", "MutatingWebhookConfiguration zz-tagpin", []string{`{"admissions.enforcer/disabled":"true","cert-manager.io/inject-ca-from":"tagpin-system/tagpin-webhook",`}, nil},
		{"managed-cluster", policy, []string{`"from":[{"podSelector":{"matchLabels":{"app.kubernetes.io/component":"webhook","app.kubernetes.io/name":"tagpin"}}},{"ipBlock":{"cidr":"192.0.2.10/32"}},{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"kube-system"}},"podSelector":{"matchLabels":{"app":"konnectivity-agent"}}}],"ports":[{"port":10250`}, nil},
		{"managed-cluster", "PrometheusRule tagpin-webhook", []string{`\u003e (0.5) * 15`, "waits for 15 seconds"}, []string{"10 seconds", "(0.5) * 10"}},
		{"managed-cluster", "ConfigMap tagpin-dashboard", []string{`\"value\": 3.75`, `\"value\": 7.5`, "API server waits for 15 seconds", "API server's 15 seconds"}, []string{"10 seconds"}},
		{"labels", deployment, []string{`"app.kubernetes.io/name":"tagpin","app.kubernetes.io/version":"1","part":"pods","team":"platform"`, `"annotations":{"tagpin.dev/read-at-start":"`}, []string{`"mine"`}},
		{"labels", "ServiceMonitor tagpin-webhook", []string{`"team":"watchers"`}, []string{`"team":"platform"`}},
		{"labels", "PodDisruptionBudget tagpin-webhook", []string{`"team":"platform"`}, nil},
		{"labels", "Service tagpin-webhook", []string{`"order":"2","owner":"platform"`, `"part":"service"`}, nil},
		{"labels", webhookKind + " zz-tagpin", []string{`"order":"1","owner":"platform"`}, nil},
		{"labels", "Secret 1234", []string{`"name":"1234"`}, nil},
		{"labels", "Role tagpin-webhook", []string{`"resourceNames":["1234"]`}, nil},
		{"labels", "ResourceQuota tagpin-webhook", nil, nil},
		{"cert-manager-issuer", "Issuer tagpin-ca", nil, nil},
		{"cert-manager-issuer", "Certificate tagpin-webhook", []string{`{"kind":"ClusterIssuer","name":"company"}`}, nil},
		{"manual", "MutatingWebhookConfiguration zz-tagpin", nil, nil},
		{"manual", "ConfigMap tagpin-webhook", []string{`  defaultMode: dry-run\n`, `  timeoutSeconds: 7\n`}, []string{"zz-tagpin"}},
		{"selectors", "MutatingWebhookConfiguration zz-tagpin", []string{
			`{"key":"example.com/team","operator":"In","values":["1"]},{"key":"tier","operator":"In","values":["shop"]},` +
				`{"key":"example.com/stage","operator":"NotIn","values":["lab",""]},{"key":"frozen","operator":"DoesNotExist"}`,
		}, []string{"objectSelector"}},
		{"selectors", "ConfigMap tagpin-webhook", []string{`  objectSelector:\n`, `example.com/pin: \"true\"`}, nil},
		{"manual", "ClusterRole tagpin-webhook", nil, nil},
		{"manual", "ClusterRoleBinding tagpin-webhook", nil, nil},
		{"manual", deployment, []string{`{"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"api-server-ca"},"name":"client-ca"}`}, []string{"TAGPIN_IMAGE"}},
		{"pods-alone", "MutatingWebhookConfiguration zz-tagpin", []string{`"failurePolicy":"Ignore"`, `"timeoutSeconds":5`}, []string{`"Fail"`}},
		{"pods-alone", "ConfigMap tagpin-webhook", []string{`  pin:\n  - pods\n`}, []string{"workloads"}},
		{"pull-secrets-none", account, []string{`"eks.amazonaws.com/role-arn":"arn:aws:iam::111122223333:role/tagpin"`}, nil},
		{"pull-secrets-none", deployment, []string{`"azure.workload.identity/use":"true"`, `"mountPath":"/etc/docker"`, `"secretName":"docker-config"`}, nil},
		{"pull-secrets-none", "ConfigMap tagpin-webhook", []string{"pullSecrets: false", "dockerConfig: /etc/docker/.dockerconfigjson"}, nil},
		{"monitoring", "ServiceMonitor tagpin-webhook", []string{`"release":"prometheus"`, `"interval":"15s"`, `"port":"metrics"`}, []string{"namespaceSelector"}},
		{"monitors", "ServiceMonitor tagpin-webhook monitoring", []string{
			`"jobLabel":"app.kubernetes.io/name"`, `"namespaceSelector":{"matchNames":["tagpin-system"]}`, `"scrapeTimeout":"5s"`,
			`"relabelings":[{"replacement":"east","targetLabel":"cluster"}]`, `"metricRelabelings":[{"action":"drop",`,
		}, nil},
		{"monitors", "PrometheusRule tagpin-webhook monitoring", []string{`"groups"`}, nil},
		{"monitoring", "PrometheusRule tagpin-webhook", []string{`"release":"prometheus"`}, nil},
		{"monitoring", "ConfigMap tagpin-dashboard", []string{`"grafana_dashboard":"1"`, `"grafana_folder":"Admission"`}, nil},
		{"monitoring", policy, []string{
			`"kubernetes.io/metadata.name":"monitoring"`,
			`{"from":[{"ipBlock":{"cidr":"192.0.2.0/24"}}],"ports":[{"port":8081`,
		}, nil},
		{"monitoring", deployment, []string{`"--log-level=debug"`}, nil},
		{"default", "PrometheusRule tagpin-webhook", nil, nil},
		{"default", "FlowSchema tagpin-webhook", nil, nil},
		{"flow-schema", "FlowSchema tagpin-webhook", []string{
			`"priorityLevelConfiguration":{"name":"tagpin-webhook"}`,
			`"serviceAccount":{"name":"tagpin-webhook","namespace":"tagpin-system"}`,
		}, nil},
		{"flow-schema", "FlowSchema tagpin-webhook-lists", []string{
			`"priorityLevelConfiguration":{"name":"tagpin-webhook-lists"}`, `"resources":["pods"],"verbs":["list"]`,
		}, []string{"nonResourceRules"}},
		{"flow-schema", "PriorityLevelConfiguration tagpin-webhook-lists", []string{`"type":"Limited"`}, nil},
		{"flow-schema-level", "FlowSchema tagpin-webhook-lists", []string{`"priorityLevelConfiguration":{"name":"workload-high"}`}, nil},
		{"flow-schema-level", "PriorityLevelConfiguration tagpin-webhook", nil, nil},
		{"default", "PriorityLevelConfiguration tagpin-webhook", nil, nil},
		{"default", "ServiceMonitor tagpin-webhook", nil, nil},
		{"default", "Deployment tagpin-audit", nil, nil},
		{"default", "ClusterRole tagpin-audit", nil, nil},
		{"audit-cluster", "Deployment tagpin-audit", []string{
			`"args":["audit","--config=/etc/tagpin/config.yaml","--listen=:8080","--interval=1h","--pull-secrets"]`,
			`"command":["/usr/local/bin/tagpin"]`, `"serviceAccountName":"tagpin-audit"`, `"memory":"256Mi"`,
		}, []string{"priorityClassName", "client-ca", "env"}},
		{"audit-cluster", "ClusterRole tagpin-audit", []string{
			`{"apiGroups":[""],"resources":["pods"],"verbs":["list"]},{"apiGroups":["apps"],"resources":["replicasets"],"verbs":["list"]},` +
				`{"apiGroups":["batch"],"resources":["jobs"],"verbs":["list"]},{"apiGroups":[""],"resources":["secrets","serviceaccounts"],"verbs":["get"]}`,
		}, []string{"patch", "delete", "watch"}},
		{"audit-cluster", "ServiceMonitor tagpin-audit", nil, nil},
		{"audit-cluster", "NetworkPolicy tagpin-audit", []string{`"ingress":[{"ports":[{"port":8080`, `"app.kubernetes.io/component":"audit"`}, []string{"from", "10250", "Egress"}},
		{"audit", "ClusterRole tagpin-audit", []string{`"verbs":["list"]`}, []string{"secrets", "get"}},
		{"audit", "RoleBinding tagpin-webhook-pull-secrets shop", []string{`{"kind":"ServiceAccount","name":"tagpin-audit","namespace":"tagpin-system"}`}, nil},
		{"audit", "Deployment tagpin-audit", []string{
			`"--interval=30m","--pull-secrets"`, `"mountPath":"/etc/tagpin-ca/company-ca","name":"ca-0"`, `{"name":"HTTPS_PROXY","value":"http://proxy.internal:3128"}`,
			`"imagePullSecrets":[{"name":"pull"}]`, `"tolerations":[{"operator":"Exists"}]`, `"app.kubernetes.io/component":"audit"`,
			`"affinity":{"nodeAffinity":{`, `"example.com/scan":"true"`, `"dnsPolicy":"None"`, `{"emptyDir":{},"name":"login"}`,
			`"initContainers":[{"image":"registry.example.com/login:1"`, `"image":"registry.example.com/renew:1","name":"renew"`,
		}, []string{"client-ca", "podAntiAffinity", "priorityClassName"}},
		{"audit", "NetworkPolicy tagpin-audit", []string{
			`"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}},` +
				`{"ipBlock":{"cidr":"192.0.2.0/24"}}],"ports":[{"port":8080,"protocol":"TCP"}]}]`,
			`"policyTypes":["Ingress","Egress"]`, `{"port":5353,"protocol":"UDP"}`, `{"ports":[{"port":443}]}`,
		}, nil},
		{"audit", "ServiceMonitor tagpin-audit", []string{`"interval":"1m"`, `"app.kubernetes.io/component":"audit"`}, nil},
		{"audit", "Service tagpin-audit", []string{`"ipFamilyPolicy":"PreferDualStack"`, `"port":8080`}, nil},
		{"pull-secrets-none", "Deployment tagpin-audit", nil, nil},
		{"default", "ConfigMap tagpin-dashboard", nil, nil},
	} {
		t.Run(tt.name+"/"+tt.object, func(t *testing.T) {
			files, err := render(all[tt.name])
			if err != nil {
				t.Fatal(err)
			}
			o := objects(t, files)[tt.object]
			if (o != nil) != (len(tt.has) > 0) {
				t.Fatalf("the object is rendered: %t, want %t", o != nil, len(tt.has) > 0)
			}
			text := marshal(t, o)
			for _, want := range tt.has {
				if !strings.Contains(text, want) {
					t.Errorf("the object does not contain %s:\n%s", want, text)
				}
			}
			for _, not := range tt.lacks {
				if strings.Contains(text, not) {
					t.Errorf("the object contains %s:\n%s", not, text)
				}
			}
		})
	}
}

// TestOpenShift checks that the chart leaves the default user to OpenShift, but not another one.
func TestOpenShift(t *testing.T) {
	cluster := common.DefaultCapabilities.Copy()
	cluster.APIVersions = append(cluster.APIVersions, "security.openshift.io/v1")
	for text, want := range map[string]any{
		"{}": nil, "{user: null}": nil, "{user: 65532}": nil, "{user: 1000650000}": float64(1000650000),
	} {
		files, err := renderFor(cluster, namespace, values(t, text))
		if err != nil {
			t.Fatal(err)
		}
		pod := at(objects(t, files)["Deployment tagpin-webhook"], "spec", "template", "spec", "securityContext")
		for _, field := range []string{"runAsUser", "runAsGroup", "fsGroup"} {
			if got := at(pod, field); got != want {
				t.Errorf("%s: %s = %v, want %v", text, field, got, want)
			}
		}
		if at(pod, "runAsNonRoot") != true {
			t.Errorf("%s: the pod may run as root", text)
		}
	}
}

// marshal returns an object as JSON.
func marshal(t *testing.T, o object) string {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFiles checks that the alerts and the dashboard are in their objects unchanged, although the
// files contain template syntax of Prometheus and Grafana.
func TestFiles(t *testing.T) {
	all := rendered(t, "{prometheusRule: {enabled: true}, dashboard: {enabled: true}}")
	alerts, err := os.ReadFile(filepath.Join(chartDir, "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rules := all["PrometheusRule tagpin-webhook"]["spec"]
	if diff := cmp.Diff(values(t, string(alerts)), rules); diff != "" {
		t.Errorf("alerts (-file +object):\n%s", diff)
	}
	dashboard, err := os.ReadFile(filepath.Join(chartDir, "files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(dashboard))
	got := at(all["ConfigMap tagpin-dashboard"], "data", "tagpin.json").(string)
	if diff := cmp.Diff(want, strings.TrimSpace(got)); diff != "" {
		t.Errorf("dashboard (-file +object):\n%s", diff)
	}
}

// TestSelectedLabels checks that each selector for the pods of the webhook names their component,
// so that it does not select other pods of tagpin, and that all labels of the pods stay the same
// when the version of the chart changes.
func TestSelectedLabels(t *testing.T) {
	all := rendered(t, "{serviceMonitor: {enabled: true}, apiServer: {cidrs: [192.0.2.1/32]}}")
	want := object{
		"app.kubernetes.io/name": "tagpin", "app.kubernetes.io/component": "webhook",
	}
	for path, got := range map[string]any{
		"Deployment": at(all["Deployment tagpin-webhook"], "spec", "selector", "matchLabels"),
		"spread": at(all["Deployment tagpin-webhook"], "spec", "template", "spec",
			"topologySpreadConstraints", 0, "labelSelector", "matchLabels"),
		"Service":             at(all["Service tagpin-webhook"], "spec", "selector"),
		"PodDisruptionBudget": at(all["PodDisruptionBudget tagpin-webhook"], "spec", "selector", "matchLabels"),
		"ServiceMonitor":      at(all["ServiceMonitor tagpin-webhook"], "spec", "selector", "matchLabels"),
		"NetworkPolicy":       at(all["NetworkPolicy tagpin-webhook"], "spec", "podSelector", "matchLabels"),
		"from": at(all["NetworkPolicy tagpin-webhook"], "spec", "ingress", 0, "from", 0,
			"podSelector", "matchLabels"),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the selector of %s (-want +got):\n%s", path, diff)
		}
	}
	pod := at(all["Deployment tagpin-webhook"], "spec", "template", "metadata", "labels")
	want["app.kubernetes.io/instance"] = "tagpin"
	if diff := cmp.Diff(want, pod); diff != "" {
		t.Errorf("labels of the pods (-want +got):\n%s", diff)
	}
}

// TestNamespaces renders the chart into namespaces whose names are not strings in YAML unless they
// are quoted.
func TestNamespaces(t *testing.T) {
	for _, in := range []string{"1234", "on", "0x1f", "1e3", "null"} {
		for name, v := range cases(t) {
			files, err := renderIn(in, v)
			if err != nil {
				t.Fatal(err)
			}
			for key, o := range objects(t, files) {
				got := at(o, "metadata", "namespace")
				if strings.HasPrefix(key, "Service ") && got != in {
					t.Errorf("%s: %s is in the namespace %v, want %q", name, key, got, in)
				}
				checkNames(t, name+": "+key, o)
			}
		}
	}
}

// checkNames checks that all fields for names and namespaces are strings.
func checkNames(t *testing.T, where string, o any) {
	t.Helper()
	switch o := o.(type) {
	case object:
		for key, value := range o {
			isName := key == "namespace" || strings.HasSuffix(strings.ToLower(key), "name")
			if _, isString := value.(string); isName && !isString {
				t.Errorf("%s: %s is %v, want a string", where, key, value)
			}
			checkNames(t, where, value)
		}
	case []any:
		for _, value := range o {
			checkNames(t, where, value)
		}
	}
}

// TestReadAtStart checks that the pods are replaced only if a change affects what the server reads
// when it starts.
func TestReadAtStart(t *testing.T) {
	annotation := func(text string) any {
		return at(rendered(t, text)["Deployment tagpin-webhook"],
			"spec", "template", "metadata", "annotations", "tagpin.dev/read-at-start")
	}
	before := annotation("{}")
	for text, want := range map[string]bool{
		"{config: {output: digest, cache: {ttl: 1m}}}":         false,
		"{config: {observability: {pprof: 'localhost:6060'}}}": true,
		"{certificates: {mode: cert-manager}}":                 true,
	} {
		if got := annotation(text) != before; got != want {
			t.Errorf("%s replaces the pods: %t, want %t", text, got, want)
		}
	}
}

// TestKinds checks the list of kinds in the chart. If it fails because of a new kind, add the kind
// here and to the list in e2e/chart/main_test.go, which finds objects that helm uninstall leaves.
func TestKinds(t *testing.T) {
	kinds := map[string]bool{}
	for _, v := range cases(t) {
		files, err := render(v)
		if err != nil {
			t.Fatal(err)
		}
		for key := range objects(t, files) {
			kind, _, _ := strings.Cut(key, " ")
			kinds[kind] = true
		}
	}
	want := []string{
		"Certificate", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "FlowSchema",
		"HorizontalPodAutoscaler", "Issuer", "MutatingWebhookConfiguration", "NetworkPolicy", "PodDisruptionBudget",
		"PriorityLevelConfiguration", "PrometheusRule", "ResourceQuota", "Role", "RoleBinding", "Secret", "Service",
		"ServiceAccount", "ServiceMonitor",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}
