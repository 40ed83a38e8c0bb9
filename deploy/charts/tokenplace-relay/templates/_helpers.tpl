{{/* Names, labels and references that several templates share. */}}

{{- define "tokenplace.operator.name" -}}
{{- printf "%s-operator" (.Release.Name | trunc 54 | trimSuffix "-") -}}
{{- end }}

{{- define "tokenplace.operator.account" -}}
{{- default (include "tokenplace.operator.name" .) .Values.operator.serviceAccount.name -}}
{{- end }}

{{- define "tokenplace.relay.name" -}}
{{- default .Release.Name .Values.relay.name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that never change, because selectors are immutable. */}}
{{- define "tokenplace.operator.selector" -}}
app.kubernetes.io/name: tokenplace-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenplace.common" -}}
app.kubernetes.io/part-of: tokenplace
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tokenplace.operator.labels" -}}
{{ include "tokenplace.operator.selector" . }}
{{ include "tokenplace.common" . }}
{{- end }}

{{/* Labels of helper pods. They differ from the operator's, so that no Service selects them. */}}
{{- define "tokenplace.helper.selector" -}}
app.kubernetes.io/name: tokenplace-helper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenplace.helper.labels" -}}
{{ include "tokenplace.helper.selector" . }}
{{ include "tokenplace.common" . }}
{{- end }}

{{/* repository@digest, else repository:tag, else repository:appVersion. Takes (image, root). */}}
{{- define "tokenplace.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) }}
{{- end -}}
{{- end }}

{{/* Pod security context of every pod in the chart, the same as that of the relay. */}}
{{- define "tokenplace.podSecurity" -}}
fsGroup: 1000
runAsGroup: 1000
runAsNonRoot: true
runAsUser: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tokenplace.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsGroup: 1000
runAsNonRoot: true
runAsUser: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}
