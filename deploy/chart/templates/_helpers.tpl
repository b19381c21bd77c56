{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The labels of all objects. */ -}}
{{- define "tagpin.labels" -}}
{{- include "tagpin.labelsAnd" (list . dict) -}}
{{- end }}

{{- /* The same, with the labels of one object. The argument is a list of the root and these
labels. */ -}}
{{- define "tagpin.labelsAnd" -}}
{{- $common := (first .).Values.commonLabels | default dict | deepCopy -}}
{{- mergeOverwrite $common (last . | default dict) (dict "app.kubernetes.io/name" "tagpin") | toYaml -}}
{{- end }}

{{- /* The annotations of the registration. While servers of two versions run, the annotation
tagpin.dev/image says which of them writes the rules: after an upgrade the new version, and after a
rollback the old one. */ -}}
{{- define "tagpin.webhookAnnotations" -}}
{{- $annotations := .Values.webhookAnnotations | default dict | deepCopy -}}
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

{{- /* The text of a file, in which ten seconds are replaced by timeoutSeconds. The argument is a
list of the root and the path of the file. */ -}}
{{- define "tagpin.timed" -}}
{{- $seconds := int (first .).Values.timeoutSeconds -}}
{{- $text := (first .).Files.Get (last .) -}}
{{- $text = replace "10 seconds" (printf "%d seconds" $seconds) $text -}}
{{- $text = replace "0.5 * 10" (printf "0.5 * %d" $seconds) $text -}}
{{- $text = replace "\"value\": 2.5\n" (printf "\"value\": %v\n" (divf $seconds 4)) $text -}}
{{- replace "\"value\": 5\n" (printf "\"value\": %v\n" (divf $seconds 2)) $text -}}
{{- end }}

{{- define "tagpin.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The fields of the config that other values of the chart set. */ -}}
{{- define "tagpin.ownConfig" -}}
apiVersion: tagpin.dev/v1alpha1
kind: Config
registration:
  name: {{ if eq .Values.registration "managed" }}zz-tagpin{{ else }}""{{ end }}
  pin: {{ toJson .Values.pin }}
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
{{- $checks := list
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
  (list (and $manual (or .keepOnly .excludedNamespaces .webhookAnnotations (ne .namespaces "opt-in") (ne .failurePolicy "Fail") (ne (int .timeoutSeconds) 10)))
    "with registration: manual, set keepOnly, namespaces, excludedNamespaces, failurePolicy, timeoutSeconds and webhookAnnotations in the registration that you apply")
  (list (ne (len (uniq (list .ports.webhook .ports.metrics .ports.probes))) 3)
    "the three ports must differ")
  (list (ne (len (uniq $cas)) (len $cas))
    "extraCAs has a name twice, and each CA is mounted under its name")
  (list (and .clientCA.configMap .clientCA.secret)
    "clientCA must have a configMap or a secret, not both")
  (list (ne (toJson $config.registration) (toJson $own.registration))
    "config.registration contradicts the values pin and registration, which set it")
  (list (ne (toJson $config.certificates) (toJson $own.certificates))
    "config.certificates contradicts the value certificates, which sets it")
  (list (ne $config.credentials.pullSecrets $own.credentials.pullSecrets)
    "config.credentials.pullSecrets contradicts the value pullSecretAccess, which sets it")
-}}
{{- range $name, $labels := dict "podLabels" .podLabels "commonLabels" .commonLabels "serviceMonitor.labels" .serviceMonitor.labels "prometheusRule.labels" .prometheusRule.labels "dashboard.labels" .dashboard.labels -}}
{{- $checks = append $checks (list (hasKey ($labels | default dict) "app.kubernetes.io/name")
  (print $name " can't set app.kubernetes.io/name, because selectors use this label")) -}}
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
{{- end }}
{{- end }}
