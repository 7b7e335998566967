{{/* The name of everything: the release's, with clusterpki in it. Objects of the cluster bear it too, so that releases in
     several namespaces need different names. */}}
{{- define "clusterpki.name" -}}
{{- if contains "clusterpki" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-clusterpki" (.Release.Name | trunc 42 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{- define "clusterpki.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "clusterpki.name" .) -}}
{{- end }}

{{/* The namespace of ledgers and keys, by the defaults of `clusterpki manager`. */}}
{{- define "clusterpki.authorityNamespace" -}}
{{- $standard := ternary "clusterpki-authority" (printf "%s-authority" .Release.Namespace) (eq .Values.scope "Cluster") -}}
{{- .Values.authorityNamespace | default $standard -}}
{{- end }}

{{/* The namespace of the agents' ServiceAccounts, likewise. */}}
{{- define "clusterpki.agentsNamespace" -}}
{{- $standard := ternary "clusterpki-agents" (printf "%s-agents" .Release.Namespace) (eq .Values.scope "Cluster") -}}
{{- .Values.agentsNamespace | default $standard -}}
{{- end }}

{{- define "clusterpki.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The operator's pods in the release's namespace, as in config/: without the release's name, so one release per namespace. */}}
{{- define "clusterpki.selector" -}}
app.kubernetes.io/name: clusterpki
app.kubernetes.io/component: manager
{{- end }}

{{- define "clusterpki.labels" -}}
{{- mustMergeOverwrite (dict) .Values.commonLabels (include "clusterpki.ownLabels" . | fromYaml) | toYaml -}}
{{- end }}

{{- define "clusterpki.ownLabels" -}}
app.kubernetes.io/name: clusterpki
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* Whether anything is served to those alone whom the API server lets. */}}
{{- define "clusterpki.authenticates" -}}
{{- if or (and .Values.metrics.enabled .Values.metrics.secure) .Values.dashboard.enabled -}}
true
{{- end -}}
{{- end }}

{{/* An object of config/, as copied to files/ by `make chart`. Arguments: context, file. */}}
{{- define "clusterpki.file" -}}
{{- $text := .context.Files.Get (printf "files/%s" .file) -}}
{{- if not $text -}}
{{- fail (printf "this version of the chart has no %s" .file) -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{/* The rules of a role of config/rbac. Arguments: context, file. */}}
{{- define "clusterpki.rules" -}}
rules:
{{ toYaml (include "clusterpki.file" . | fromYaml).rules }}
{{- end }}

{{/* The operator as the subject of a binding. */}}
{{- define "clusterpki.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "clusterpki.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
