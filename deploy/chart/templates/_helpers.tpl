{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The labels of all objects. Labels of commonLabels and of one object replace the recommended ones,
except the two that selectors use. */ -}}
{{- define "tagpin.labels" -}}
{{- include "tagpin.labelsAnd" (list . dict) -}}
{{- end }}

{{- /* The same, with the labels of one object. The argument is a list of the root and these
labels. */ -}}
{{- define "tagpin.labelsAnd" -}}
{{- $root := first . -}}
{{- $labels := dict "helm.sh/chart" (print $root.Chart.Name "-" $root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $labels "app.kubernetes.io/instance" $root.Release.Name -}}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63) -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $common := $root.Values.commonLabels | default dict -}}
{{- mergeOverwrite $labels $common (last . | default dict) (include "tagpin.selector" $root | fromYaml) | toYaml -}}
{{- end }}

{{- /* The labels of the pods, which don't change with the version of the chart, because a change
would replace the pods. */ -}}
{{- define "tagpin.podLabels" -}}
{{- $labels := dict "app.kubernetes.io/instance" .Release.Name -}}
{{- $common := .Values.commonLabels | default dict -}}
{{- mergeOverwrite $labels $common (.Values.podLabels | default dict) (include "tagpin.selector" . | fromYaml) | toYaml -}}
{{- end }}

{{- /* The labels by which selectors find the pods of the webhook. */ -}}
{{- define "tagpin.selector" -}}
app.kubernetes.io/name: tagpin
app.kubernetes.io/component: webhook
{{- end }}

{{- /* The labels by which selectors find the pod of the audit. */ -}}
{{- define "tagpin.auditSelector" -}}
app.kubernetes.io/name: tagpin
app.kubernetes.io/component: audit
{{- end }}

{{- /* The spec of a ServiceMonitor. The argument is a dict of the root and the name of the template
with the labels of the Service. */ -}}
{{- define "tagpin.monitor" -}}
{{- $monitor := .root.Values.serviceMonitor -}}
{{- if $monitor.namespace -}}
namespaceSelector: {matchNames: [{{ toYaml .root.Release.Namespace }}]}
{{ end -}}
{{- with $monitor.jobLabel -}}
jobLabel: {{ . }}
{{ end -}}
selector:
  matchLabels:
    {{- include .selector .root | nindent 4 }}
endpoints:
- port: metrics
  interval: {{ $monitor.interval }}
  {{- with $monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- range $field := list "relabelings" "metricRelabelings" }}
  {{- with get $monitor $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{- /* The metadata of an object, which is in the release's namespace if it is not of the whole
cluster. The argument is a dict of the root, the kind, the name, and optionally a namespace, labels,
annotations, and the component, if it is not the webhook. */ -}}
{{- define "tagpin.metadata" -}}
{{- $root := .root -}}
{{- $given := get ($root.Values.metadata | default dict) .kind | default dict -}}
{{- $labels := mergeOverwrite dict ($given.labels | default dict) (.labels | default dict) -}}
{{- $annotations := mergeOverwrite dict ($root.Values.commonAnnotations | default dict) ($given.annotations | default dict) (.annotations | default dict) -}}
name: {{ toYaml .name }}
{{- if not (has .kind (list "ClusterRole" "ClusterRoleBinding" "FlowSchema" "PriorityLevelConfiguration")) }}
namespace: {{ .namespace | default $root.Release.Namespace | toYaml }}
{{- end }}
{{- $all := include "tagpin.labelsAnd" (list $root $labels) | fromYaml }}
{{- with .component }}{{ $_ := set $all "app.kubernetes.io/component" . }}{{ end }}
labels:
  {{- toYaml $all | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The annotations of the registration. While servers of two versions run, the annotation
tagpin.dev/image says which of them writes the rules: after an upgrade the new version, and after a
rollback the old one. */ -}}
{{- define "tagpin.webhookAnnotations" -}}
{{- $annotations := mergeOverwrite dict (.Values.commonAnnotations | default dict) (.Values.webhookAnnotations | default dict) -}}
{{- $_ := set $annotations "tagpin.dev/image" (include "tagpin.image" .) -}}
{{- if eq .Values.certificates.mode "cert-manager" -}}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (print .Release.Namespace "/tagpin-webhook") -}}
{{- end -}}
{{- toYaml $annotations -}}
{{- end }}

{{- /* The secret of the serving certificate. Each mode has another default, because Helm refuses to
adopt a secret that it did not create. */ -}}
{{- define "tagpin.secret" -}}
{{- with .Values.certificates -}}
{{- .secret | default (eq .mode "cert-manager" | ternary "tagpin-webhook-cert-manager" "tagpin-webhook-tls") -}}
{{- end -}}
{{- end }}

{{- /* The branch or tag on GitHub that has the pages of this version. */ -}}
{{- define "tagpin.pages" -}}
{{- $version := trimPrefix "v" .Chart.AppVersion -}}
{{- if regexMatch `^[0-9]+[.][0-9]+[.][0-9]+` $version -}}v{{ $version }}{{- else -}}main{{- end -}}
{{- end }}

{{- /* The text of a file, in which ten seconds are replaced by timeoutSeconds, and links lead to the
pages of this version. The argument is a list of the root and the path of the file. */ -}}
{{- define "tagpin.timed" -}}
{{- $seconds := int (first .).Values.timeoutSeconds -}}
{{- $text := (first .).Files.Get (last .) -}}
{{- with (first .).Values.dashboard.clusterLabel -}}
{{- $text = replace "(cluster, " (printf "(%s, " .) $text -}}
{{- $text = replace "cluster=~" (printf "%s=~" .) $text -}}
{{- $text = replace "build_info, cluster)" (printf "build_info, %s)" .) $text -}}
{{- end -}}
{{- $text = replace "/blob/main/" (printf "/blob/%s/" (include "tagpin.pages" (first .))) $text -}}
{{- $text = replace "10 seconds" (printf "%d seconds" $seconds) $text -}}
{{- $text = replace "(0.5) * 10" (printf "(0.5) * %d" $seconds) $text -}}
{{- $text = replace "\"value\": 2.5\n" (printf "\"value\": %v\n" (divf $seconds 4)) $text -}}
{{- replace "\"value\": 5\n" (printf "\"value\": %v\n" (divf $seconds 2)) $text -}}
{{- end }}

{{- /* The alerts, as the values want them, about the objects of this release. */ -}}
{{- define "tagpin.alerts" -}}
{{- $v := .Values.prometheusRule -}}
{{- $disabled := $v.disabled | default list -}}
{{- if eq .Values.pullSecretAccess "namespaces" -}}
{{- /* Reads in other namespaces are forbidden on purpose, so leave out the alert about them. */ -}}
{{- $disabled = append $disabled "TagpinForbidden" -}}
{{- end -}}
{{- $namespace := printf "namespace=%q" .Release.Namespace -}}
{{- $text := include "tagpin.timed" (list . "files/alerts.yaml") -}}
{{- $file := replace "namespace=\"tagpin-system\"" $namespace $text | fromYaml -}}
{{- $known := list -}}
{{- range $group := $file.groups -}}
{{- $kept := list -}}
{{- range $rule := .rules -}}
{{- $known = append $known .alert -}}
{{- $_ := set . "expr" (include "tagpin.alertExpr" (list $v $rule)) -}}
{{- $_ := set . "labels" (merge .labels ($v.alertLabels | default dict)) -}}
{{- with $v.runbooks -}}
{{- $_ := set $rule.annotations "runbook_url" (print . "#" (lower $rule.alert)) -}}
{{- end -}}
{{- if not (has .alert $disabled) -}}{{- $kept = append $kept . -}}{{- end -}}
{{- end -}}
{{- $_ := set . "rules" $kept -}}
{{- end -}}
{{- range $disabled -}}
{{- if not (has . $known) -}}
{{- fail (printf "prometheusRule.disabled has %s, but there is no such alert" .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $file -}}
{{- end }}

{{- /* The expression of an alert, with the values' threshold and labels. The argument is a list of
prometheusRule and the rule. */ -}}
{{- define "tagpin.alertExpr" -}}
{{- $v := first . -}}
{{- $rule := last . -}}
{{- $expr := $rule.expr -}}
{{- $thresholds := $v.thresholds | default dict -}}
{{- if hasKey $thresholds $rule.alert -}}
{{- $expr = regexReplaceAll `[(][0-9.]+[)]` $expr (printf "(%v)" (get $thresholds $rule.alert)) -}}
{{- end -}}
{{- with $v.groupBy -}}
{{- $labels := join ", " . -}}
{{- $expr = regexReplaceAll `\b(by|on) [(](\w)` $expr (print "${1} (" $labels ", ${2}") -}}
{{- $expr = regexReplaceAll `\b(by|on) [(][)]` $expr (print "${1} (" $labels ")") -}}
{{- end -}}
{{- $expr -}}
{{- end }}

{{- /* The image without its tag. The registry of a parent chart replaces the host that begins it. */ -}}
{{- define "tagpin.repository" -}}
{{- $repository := .Values.image.repository -}}
{{- with (.Values.global).imageRegistry -}}
{{- $parts := splitn "/" 2 $repository -}}
{{- $isHost := and $parts._1 (or (contains "." $parts._0) (contains ":" $parts._0) (eq $parts._0 "localhost")) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) ($isHost | ternary $parts._1 $repository) -}}
{{- end -}}
{{- $repository -}}
{{- end }}

{{- define "tagpin.image" -}}
{{- with .Values.image -}}
{{ include "tagpin.repository" $ }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The image that helm test has pinned: tagpin's own by its tag, unless it has none or is in no
registry. */ -}}
{{- define "tagpin.testImage" -}}
{{- $released := ne .Chart.AppVersion "latest" | ternary .Chart.AppVersion "" -}}
{{- $tag := eq .Values.image.pullPolicy "Never" | ternary "" (.Values.image.tag | default $released) -}}
{{- .Values.testImage | default ($tag | empty | ternary "" (printf "%s:%s" (include "tagpin.repository" .) $tag)) -}}
{{- end }}

{{- /* The fields of the config that other values of the chart set. A new field is only written if its
value differs from the default, because servers of the former version refuse fields that they don't
know, and some may start during an upgrade. */ -}}
{{- define "tagpin.ownConfig" -}}
apiVersion: tagpin.dev/v1alpha1
kind: Config
registration:
  name: {{ if eq .Values.registration "managed" }}zz-tagpin{{ else }}""{{ end }}
  pin: {{ toJson .Values.pin }}
  {{- if eq .Values.namespaces "opt-out" }}
  defaultMode: {{ .Values.defaultMode }}
  {{- end }}
  {{- range $field := list "excludedNamespaces" "namespaceSelector" "objectSelector" "keepOnly" }}
  {{- with get $.Values $field }}
  {{ $field }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- if ne .Values.failurePolicy "Fail" }}
  failurePolicy: {{ .Values.failurePolicy }}
  {{- end }}
  {{- if ne (int .Values.timeoutSeconds) 10 }}
  timeoutSeconds: {{ .Values.timeoutSeconds }}
  {{- end }}
certificates:
  mode: {{ if eq .Values.certificates.mode "self-managed" }}self-managed{{ else }}mounted{{ end }}
  secret: {{ include "tagpin.secret" . | toJson }}
  service: tagpin-webhook
credentials:
  pullSecrets: {{ ne .Values.pullSecretAccess "none" }}
{{- end }}

{{- /* The config: the fields above and the user's own fields. tagpin.check makes sure that they
don't contradict each other. */ -}}
{{- define "tagpin.config" -}}
{{- mergeOverwrite (include "tagpin.ownConfig" . | fromYaml) (.Values.config | default dict | deepCopy) | toYaml -}}
{{- end }}

{{- /* The fields of the config that the server reads only when it starts. */ -}}
{{- define "tagpin.atStart" -}}
{{- $config := include "tagpin.config" . | fromYaml -}}
{{- list $config.certificates $config.observability $config.registration.name | toJson -}}
{{- end }}

{{- /* "yes" if the server may change its registration, and otherwise empty. */ -}}
{{- define "tagpin.managed" -}}
{{- if eq .Values.registration "managed" }}yes{{ end -}}
{{- end }}

{{- /* Fails if values contradict each other, which values.schema.json can't express. */ -}}
{{- define "tagpin.check" -}}
{{- $own := include "tagpin.ownConfig" . | fromYaml -}}
{{- $config := include "tagpin.config" . | fromYaml -}}
{{- with .Values -}}
{{- $manual := eq .registration "manual" -}}
{{- $mode := .certificates.mode -}}
{{- $issuer := .certificates.issuerRef -}}
{{- $cas := list -}}
{{- range .extraCAs -}}{{- $cas = append $cas (.configMap | default .secret) -}}{{- end -}}
{{- $env := list -}}
{{- range .extraEnv -}}{{- $env = append $env .name -}}{{- end -}}
{{- $ports := list (int .ports.webhook) (int .ports.metrics) (int .ports.probes) -}}
{{- $checks := list
  (list (and (not .image.digest) (not .image.tag) (eq $.Chart.AppVersion "latest"))
    "set image.repository, and image.digest or image.tag: nobody publishes an image for a chart from a checkout; make image builds and pushes one")
  (list (not (has "pods" .pin))
    "pin must contain pods: otherwise the pods of workloads that are not pinned would run unpinned")
  (list (and (eq .failurePolicy "Ignore") (has "workloads" .pin))
    "failurePolicy: Ignore requires pin: [pods]: a workload that is applied again while no replica answers would lose its pin and be rolled out")
  (list (ne (eq .pullSecretAccess "namespaces") (not (empty .pullSecretNamespaces)))
    "pullSecretAccess: namespaces and pullSecretNamespaces require each other")
  (list (and (eq $mode "given") (not .certificates.caBundle))
    "certificates.mode: given requires certificates.caBundle, the PEM certificates of the CA that signed the certificate")
  (list (and (eq $mode "given") (not .certificates.secret))
    "certificates.mode: given requires certificates.secret, the secret with tls.crt and tls.key")
  (list (and .certificates.caBundle (ne $mode "given"))
    "certificates.caBundle requires certificates.mode: given")
  (list (and $issuer (not $issuer.name))
    "certificates.issuerRef requires the name of the issuer")
  (list (and $issuer (ne $mode "cert-manager"))
    "certificates.issuerRef requires certificates.mode: cert-manager")
  (list (and $manual (eq $mode "self-managed"))
    "registration: manual requires certificates.mode: given or cert-manager, because the server would have to write a self-managed CA into the registration")
  (list (and $manual .webhookAnnotations)
    "with registration: manual, set webhookAnnotations in the registration that you apply")
  (list (and (not (has "workloads" .pin)) (or (.objectSelector | default dict).matchLabels (.objectSelector | default dict).matchExpressions))
    "objectSelector requires pin: [workloads, pods], because it selects workloads: pods are served whatever their labels")
  (list (ne (len (uniq $ports)) 3)
    "the three ports must differ")
  (list (and .hostNetwork (has 10250 $ports))
    "with hostNetwork, set ports.webhook to a port that is free on the nodes, such as 9443: port 10250 is the kubelet's")
  (list (or (has "POD_NAMESPACE" $env) (has "TAGPIN_IMAGE" $env))
    "extraEnv can't set POD_NAMESPACE and TAGPIN_IMAGE, by which the server finds its own objects")
  (list (ne (len (uniq $env)) (len $env))
    "extraEnv has a name twice")
  (list (and (.proxy).secret (or .proxy.https .proxy.http))
    "proxy must have a secret, or https and http, not both")
  (list (and .autoscaling.enabled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)))
    "autoscaling.minReplicas must not be greater than autoscaling.maxReplicas")
  (list (ne (len (uniq $cas)) (len $cas))
    "extraCAs has a name twice, and each CA is mounted under its name")
  (list (and .clientCA.configMap .clientCA.secret)
    "clientCA must have a configMap or a secret, not both")
  (list (ne (toJson $config.registration) (toJson $own.registration))
    "config.registration contradicts the values of the chart that set it: pin, registration, namespaces, defaultMode, excludedNamespaces, namespaceSelector, objectSelector, keepOnly, failurePolicy and timeoutSeconds")
  (list (ne (toJson $config.certificates) (toJson $own.certificates))
    "config.certificates contradicts the value certificates, which sets it")
  (list (ne $config.credentials.pullSecrets $own.credentials.pullSecrets)
    "config.credentials.pullSecrets contradicts the value pullSecretAccess, which sets it")
-}}
{{- $labelled := dict "podLabels" .podLabels "commonLabels" .commonLabels "serviceMonitor.labels" .serviceMonitor.labels "prometheusRule.labels" .prometheusRule.labels "dashboard.labels" .dashboard.labels -}}
{{- range $kind, $given := .metadata -}}
{{- $_ := set $labelled (printf "metadata.%s.labels" $kind) ($given.labels | default dict) -}}
{{- end -}}
{{- range $name, $labels := $labelled -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/component" -}}
{{- $checks = append $checks (list (hasKey ($labels | default dict) $label)
  (printf "%s can't set %s, because selectors use this label" $name $label)) -}}
{{- end -}}
{{- end -}}
{{- range $checks -}}{{- if first . -}}{{- fail (last .) -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end }}

{{- /* The RBAC rules to read pull secrets, in all namespaces or one. */ -}}
{{- define "tagpin.pullSecretRules" -}}
# Pull secrets, by the names that pods and service accounts give. They are never listed or watched.
- apiGroups: [""]
  resources: [secrets, serviceaccounts]
  verbs: [get]
{{- end }}

{{- /* The RBAC rules to list the siblings of a pod, in all namespaces or one. */ -}}
{{- define "tagpin.siblingRules" -}}
# The other pods of a pod's revision, whose digests it takes.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}

{{- /* The expressions that select the namespaces of a mode. The argument is a dict of the root and
the mode. */ -}}
{{- define "tagpin.mode" -}}
{{- $v := .root.Values -}}
{{- $key := "key: tagpin.dev/mode, operator" -}}
{{- $optOut := eq $v.namespaces "opt-out" -}}
{{- if and $v.keepOnly (ne .mode "keep") -}}
- { {{- $key }}: In, values: [{{ .mode }}]} # contradicts the next line: keep serves all namespaces
- { {{- $key }}: DoesNotExist}
{{- else if $v.keepOnly -}}
- { {{- $key }}: {{ if $optOut }}NotIn, values: ["off"]{{ else }}In, values: [enforce, dry-run, keep]{{ end }}}
{{- else if and $optOut (eq $v.defaultMode .mode) -}}
- { {{- $key }}: NotIn, values: [{{ join ", " (without (list "enforce" "dry-run" "keep") .mode) }}, "off"]}
{{- else -}}
- { {{- $key }}: In, values: [{{ .mode }}]}
{{- end }}
{{- end }}

{{- /* The webhooks of the registration. They have no rules, no matchConditions and no self-managed
CA: the server adds these when it serves. A webhook without rules is never called, so that nothing
is denied before a server runs. An upgrade of the chart does not remove what the server has
added. */ -}}
{{- define "tagpin.webhooks" -}}
{{- $namespace := .Release.Namespace -}}
{{- $excluded := concat (list "kube-system" "kube-node-lease" $namespace) (.Values.excludedNamespaces | default list) | uniq -}}
{{- range $mode := list "enforce" "dry-run" "keep" }}
- name: {{ $mode }}.tagpin.dev
  admissionReviewVersions: [v1]
  clientConfig:
    service: {namespace: {{ toJson $namespace }}, name: tagpin-webhook, path: /{{ $mode }}}
    {{- with $.Values.certificates.caBundle }}
    caBundle: {{ b64enc . }}
    {{- end }}
  failurePolicy: {{ $.Values.failurePolicy }}
  timeoutSeconds: {{ $.Values.timeoutSeconds }}
  reinvocationPolicy: IfNeeded
  sideEffects: None
  matchPolicy: Equivalent
  namespaceSelector:
    matchExpressions:
    {{- include "tagpin.mode" (dict "root" $ "mode" $mode) | nindent 4 }}
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    {{- with $.Values.namespaceSelector }}
    {{- range $key, $value := .matchLabels }}
    - {key: {{ toJson $key }}, operator: In, values: [{{ toJson $value }}]}
    {{- end }}
    {{- range .matchExpressions }}
    - {{ toJson . }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
