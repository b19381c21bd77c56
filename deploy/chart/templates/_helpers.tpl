{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The labels of all objects. */ -}}
{{- define "tagpin.labels" -}}
{{- include "tagpin.labelsAnd" (list . dict) -}}
{{- end }}

{{- /* The same, and an object's own, which are given after the root: no key is there twice. */ -}}
{{- define "tagpin.labelsAnd" -}}
{{- $common := (first .).Values.commonLabels | default dict | deepCopy -}}
{{- mergeOverwrite $common (last . | default dict) (dict "app.kubernetes.io/name" "tagpin") | toYaml -}}
{{- end }}

{{- /* The annotations of the registration. The image tells servers which of two versions is to write
the rules: in an upgrade the new one, and after a roll-back the old one. */ -}}
{{- define "tagpin.webhookAnnotations" -}}
{{- $annotations := .Values.webhookAnnotations | default dict | deepCopy -}}
{{- $_ := set $annotations "tagpin.dev/image" (include "tagpin.image" .) -}}
{{- if eq .Values.certificates.mode "cert-manager" -}}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (print .Release.Namespace "/tagpin-webhook") -}}
{{- end -}}
{{- toYaml $annotations -}}
{{- end }}

{{- /* The secret of the serving certificate. Each mode has one of its own, since Helm takes over none that is there already. */ -}}
{{- define "tagpin.secret" -}}
{{- with .Values.certificates -}}
{{- .secret | default (eq .mode "cert-manager" | ternary "tagpin-webhook-cert-manager" "tagpin-webhook-tls") -}}
{{- end -}}
{{- end }}

{{- /* A file, which is given after the root: it is written for ten seconds, and gets those of timeoutSeconds. */ -}}
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

{{- /* What the config has that the chart knows: the user's own fields come on top, and must not say otherwise. */ -}}
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

{{- define "tagpin.config" -}}
{{- mergeOverwrite (include "tagpin.ownConfig" . | fromYaml) (.Values.config | default dict | deepCopy) | toYaml -}}
{{- end }}

{{- /* What of the config is read at the start alone. */ -}}
{{- define "tagpin.atStart" -}}
{{- $config := include "tagpin.config" . | fromYaml -}}
{{- list $config.certificates $config.observability $config.registration.name | toJson -}}
{{- end }}

{{- /* Whether the server may change its registration. */ -}}
{{- define "tagpin.managed" -}}
{{- if eq .Values.registration "managed" }}yes{{ end -}}
{{- end }}

{{- /* What values.schema.json can't say: values that contradict each other. Each is one sentence. */ -}}
{{- define "tagpin.check" -}}
{{- $own := include "tagpin.ownConfig" . | fromYaml -}}
{{- $config := include "tagpin.config" . | fromYaml -}}
{{- with .Values -}}
{{- if not (has "pods" .pin) -}}
{{- fail "pin is [workloads, pods], or [pods] alone, since a workload's pods would go unpinned where it is not" -}}
{{- end -}}
{{- range $name, $labels := dict "podLabels" .podLabels "commonLabels" .commonLabels "serviceMonitor.labels" .serviceMonitor.labels "prometheusRule.labels" .prometheusRule.labels "dashboard.labels" .dashboard.labels -}}
{{- if hasKey ($labels | default dict) "app.kubernetes.io/name" -}}
{{- fail (print $name " can't set app.kubernetes.io/name, by which tagpin's objects are found") -}}
{{- end -}}
{{- end -}}
{{- if and (eq .failurePolicy "Ignore") (has "workloads" .pin) -}}
{{- fail "failurePolicy: Ignore needs pin: [pods], since a workload that is applied again while tagpin is away would lose its pin and be rolled out" -}}
{{- end -}}
{{- if ne (eq .pullSecretAccess "namespaces") (not (empty .pullSecretNamespaces)) -}}
{{- fail "pullSecretNamespaces lists the namespaces of pullSecretAccess: namespaces, and the one needs the other" -}}
{{- end -}}
{{- with .certificates -}}
{{- if and (eq .mode "given") (not .caBundle) -}}
{{- fail "certificates.mode: given needs certificates.caBundle, the PEM certificates that the given one is signed by" -}}
{{- end -}}
{{- if and (eq .mode "given") (not .secret) -}}
{{- fail "certificates.mode: given needs certificates.secret, the secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if and .caBundle (ne .mode "given") -}}
{{- fail "certificates.caBundle is for certificates.mode: given alone" -}}
{{- end -}}
{{- if and .issuerRef (not .issuerRef.name) -}}
{{- fail "certificates.issuerRef needs the issuer's name" -}}
{{- end -}}
{{- if and .issuerRef (ne .mode "cert-manager") -}}
{{- fail "certificates.issuerRef is for certificates.mode: cert-manager alone" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .registration "manual") (eq .certificates.mode "self-managed") -}}
{{- fail "registration: manual needs certificates.mode: given or cert-manager, since a self-managed CA has to be written into the registration" -}}
{{- end -}}
{{- if eq .registration "manual" -}}
{{- if or .keepOnly .excludedNamespaces .webhookAnnotations (ne .namespaces "opt-in") (ne .failurePolicy "Fail") (ne (int .timeoutSeconds) 10) -}}
{{- fail "registration: manual leaves keepOnly, namespaces, excludedNamespaces, failurePolicy, timeoutSeconds and webhookAnnotations to who writes the registration" -}}
{{- end -}}
{{- end -}}
{{- if ne (len (uniq (list .ports.webhook .ports.metrics .ports.probes))) 3 -}}
{{- fail "ports takes three ports that differ" -}}
{{- end -}}
{{- $names := list -}}
{{- range .extraCAs -}}{{- $names = append $names (.configMap | default .secret) -}}{{- end -}}
{{- if ne (len (uniq $names)) (len $names) -}}
{{- fail "extraCAs has a name twice, and each is mounted by its name" -}}
{{- end -}}
{{- if and .clientCA.configMap .clientCA.secret -}}
{{- fail "clientCA has a configMap and a secret, and takes one of them" -}}
{{- end -}}
{{- end -}}
{{- if ne (toJson $config.registration) (toJson $own.registration) -}}
{{- fail "config.registration contradicts the values pin and registration, which set it" -}}
{{- end -}}
{{- if ne (toJson $config.certificates) (toJson $own.certificates) -}}
{{- fail "config.certificates contradicts the value certificates, which sets it" -}}
{{- end -}}
{{- if ne $config.credentials.pullSecrets $own.credentials.pullSecrets -}}
{{- fail "config.credentials.pullSecrets contradicts the value pullSecretAccess, which sets it" -}}
{{- end -}}
{{- end }}

{{- /* The rules for pull secrets and siblings, in all namespaces or one. */ -}}
{{- define "tagpin.pullSecretRules" -}}
# Pull secrets, by the names that pods and service accounts give: never listed, never watched.
- apiGroups: [""]
  resources: [secrets, serviceaccounts]
  verbs: [get]
{{- end }}

{{- define "tagpin.siblingRules" -}}
# The siblings of a controller's pod, whose digest it takes.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}

{{- /* Which namespaces a mode's webhook is for: given the root, and the mode. */ -}}
{{- define "tagpin.mode" -}}
{{- $v := .root.Values -}}
{{- $key := "key: tagpin.dev/mode, operator" -}}
{{- $optOut := eq $v.namespaces "opt-out" -}}
{{- if and $v.keepOnly (ne .mode "keep") -}}
- { {{- $key }}: In, values: [{{ .mode }}]} # and without the label: none, they are all served by keep
- { {{- $key }}: DoesNotExist}
{{- else if $v.keepOnly -}}
- { {{- $key }}: {{ if $optOut }}NotIn, values: ["off"]{{ else }}In, values: [enforce, dry-run, keep]{{ end }}}
{{- else if and $optOut (eq $v.defaultMode .mode) -}}
- { {{- $key }}: NotIn, values: [{{ join ", " (without (list "enforce" "dry-run" "keep") .mode) }}, "off"]}
{{- else -}}
- { {{- $key }}: In, values: [{{ .mode }}]}
{{- end }}
{{- end }}

{{- /* The registration, without what the server puts in when it serves: the rules, the conditions, and a CA of its own. A
webhook without rules is called for nothing, so that nothing is denied before there is a server; and no update of the
chart takes away what the server has put in. */ -}}
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
