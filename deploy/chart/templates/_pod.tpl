{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The optional environment variables. */ -}}
{{- define "tagpin.env" -}}
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
{{- if or .https .http }}
- name: NO_PROXY
  value: {{ concat (list "$(KUBERNETES_SERVICE_HOST)" ".svc" ".cluster.local" "169.254.0.0/16" "fd00:ec2::/32") (.except | default list) | join "," | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The optional volume mounts. */ -}}
{{- define "tagpin.mounts" -}}
{{- if or .Values.clientCA.configMap .Values.clientCA.secret }}
- {name: client-ca, mountPath: /etc/tagpin-client-ca, readOnly: true}
{{- end }}
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
