{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* How pods are replaced. With hostNetwork, a new pod needs the ports of a node, so an old one goes
first: otherwise the update would wait for one more node than there are replicas. */ -}}
{{- define "tagpin.strategy" -}}
{{- $pods := dict "maxUnavailable" 0 "maxSurge" 1 -}}
{{- if .Values.hostNetwork -}}{{- $pods = dict "maxUnavailable" 1 "maxSurge" 0 -}}{{- end -}}
{{- .Values.strategy | default (dict "rollingUpdate" $pods) | toYaml -}}
{{- end }}

{{- define "tagpin.serviceAccount" -}}
{{- .Values.serviceAccount.name | default "tagpin-webhook" | toYaml -}}
{{- end }}

{{- /* The pull secrets of the image. Those of a parent chart may be plain names. */ -}}
{{- define "tagpin.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat ((.Values.global).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- uniq $secrets | toYaml -}}
{{- end }}

{{- /* The security context of the pod. OpenShift refuses the default user: it gives each namespace
a range of users, and chooses one. */ -}}
{{- define "tagpin.podSecurityContext" -}}
{{- $user := int64 .Values.user -}}
{{- if and (eq $user 65532) (.Capabilities.APIVersions.Has "security.openshift.io/v1") -}}
{{- $user = 0 -}}
{{- end -}}
{{- $ids := gt $user 0 | ternary (dict "runAsUser" $user "runAsGroup" $user "fsGroup" $user) dict -}}
{{- mergeOverwrite $ids (.Values.podSecurityContext | default dict) | toYaml -}}
{{- end }}

{{- /* The spread of the pods. A constraint without a selector counts the pods of the same
revision. */ -}}
{{- define "tagpin.spread" -}}
{{- $all := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "tagpin.selector" $ | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- $all = append $all (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $selector)) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{- /* The optional environment variables. A variable of extraEnv replaces the chart's own. */ -}}
{{- define "tagpin.env" -}}
{{- $given := list -}}
{{- range .Values.extraEnv -}}{{- $given = append $given .name -}}{{- end -}}
{{- range include "tagpin.ownEnv" . | fromYamlArray -}}
{{- if not (has .name $given) }}
- {{ toYaml . | indent 2 | trim }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tagpin.ownEnv" -}}
{{- with .Values.extraCAs }}
- name: SSL_CERT_DIR
  value: {{ range $i, $ca := . }}{{ if $i }}:{{ end }}/etc/tagpin-ca/{{ $ca.configMap | default $ca.secret }}{{ end }}
{{- end }}
{{- with .Values.proxy }}
{{- range $name, $value := dict "HTTPS_PROXY" .https "HTTP_PROXY" .http }}
{{- with $value }}
- name: {{ $name }}
  value: {{ quote . }}
{{- end }}
{{- end }}
{{- if .secret }}
{{- range $name := list "HTTPS_PROXY" "HTTP_PROXY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ toYaml $.Values.proxy.secret }}, key: {{ $name }}, optional: {{ eq $name "HTTP_PROXY" }}}
{{- end }}
{{- end }}
{{- if or .https .http .secret }}
- name: NO_PROXY
  value: {{ concat (list "$(KUBERNETES_SERVICE_HOST)" ".svc" ".cluster.local" "169.254.0.0/16" "fd00:ec2::/32") (.except | default list) | join "," | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The optional volume mounts. */ -}}
{{- define "tagpin.mounts" -}}
{{- if or .Values.clientCA.configMap .Values.clientCA.secret }}
- {name: client-ca, mountPath: /etc/tagpin-client-ca, readOnly: true}
{{- end }}
{{- include "tagpin.registryMounts" . }}
{{- end }}

{{- /* Those of them that are for registries: CAs, and what the user mounts. */ -}}
{{- define "tagpin.registryMounts" -}}
{{- range $i, $ca := .Values.extraCAs }}
- {name: ca-{{ $i }}, mountPath: /etc/tagpin-ca/{{ $ca.configMap | default $ca.secret }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The optional volumes. */ -}}
{{- define "tagpin.volumes" -}}
{{- with .Values.clientCA }}
{{- if or .configMap .secret }}
- name: client-ca
  {{- /* Only the certificate, because the secret may also hold the CA's private key. */}}
  {{- $items := printf ", items: [{key: %s, path: %s}]" (toYaml .key) (toYaml .key) }}
  {{- include "tagpin.source" (merge (dict "items" $items) .) | nindent 2 }}
{{- end }}
{{- end }}
{{- include "tagpin.registryVolumes" . }}
{{- end }}

{{- /* Those of them that are for registries. */ -}}
{{- define "tagpin.registryVolumes" -}}
{{- range $i, $ca := .Values.extraCAs }}
- name: ca-{{ $i }}
  {{- include "tagpin.source" $ca | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The source of a volume: a ConfigMap or a secret. */ -}}
{{- define "tagpin.source" -}}
{{- if .configMap -}}
configMap: {name: {{ toYaml .configMap }}{{ .items }}}
{{- else -}}
secret: {secretName: {{ toYaml .secret }}{{ .items }}}
{{- end }}
{{- end }}

{{- /* The metadata of an object of the test. Its component differs from that of the webhook, because
otherwise the Service would send requests to the pod of the test. The argument is a dict of the root,
the kind, and the annotations. */ -}}
{{- define "tagpin.testMetadata" -}}
{{- $metadata := include "tagpin.metadata" (merge (dict "name" "tagpin-test") .) | fromYaml -}}
{{- $_ := set $metadata.labels "app.kubernetes.io/component" "test" -}}
{{- toYaml $metadata -}}
{{- end }}
