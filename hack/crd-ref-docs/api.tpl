{{- /* Renders docs/api.md. Rules in CEL are left out: their meaning is in the fields' descriptions. */ -}}

{{- define "gvList" -}}
{{- range . -}}
{{- $gv := . -}}
# API reference: {{ .GroupVersionString }}

<!-- Generated from api/v1alpha1 by `make docs`. -->

All kinds are namespaced. Each has a page that says what it is for and what the operator does with it:
{{ range $i, $k := .SortedKinds }}{{ if $i }}, {{ end }}[{{ $k }}]({{ lower $k }}.md){{ end }}.
{{ range .SortedTypes }}{{ if .GVK }}{{ template "type" . }}{{ end }}{{ end }}
{{- range .SortedTypes }}{{ if not .GVK }}{{ template "type" . }}{{ end }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "type" -}}
{{- if markdownShouldRenderType . }}
## {{ .Name }}

{{ template "text" .Doc }}
{{ if .References }}
Used in {{ range $i, $r := .SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $r }}{{ end }}.
{{ end }}
{{- if .Members }}
| Field | Description | Default | Limits |
| --- | --- | --- | --- |
{{- if .GVK }}
| `apiVersion` _string_ | `{{ .GVK.Group }}/{{ .GVK.Version }}` | | |
| `kind` _string_ | `{{ .GVK.Kind }}` | | |
{{- end }}
{{- range .Members }}
| `{{ .Name }}` _{{ markdownRenderType .Type }}_ | {{ template "text" .Doc }} | {{ if ne .Name "status" }}{{ markdownRenderDefault .Default }}{{ end }} | {{ template "limits" .Validation }} |
{{- end }}
{{ end }}
{{- if .EnumValues }}
| Value | Description |
| --- | --- |
{{- range .EnumValues }}
| `{{ .Name }}` | {{ template "text" .Doc }} |
{{- end }}
{{ end }}
{{- end -}}
{{- end -}}

{{- define "limits" -}}
{{- $first := true -}}
{{- range . -}}
{{- if not (or (contains "XValidation" .) (contains "e+" .) (hasPrefix "Optional" .) (hasPrefix "Type:" .)) -}}
{{- if not $first }}, {{ end }}{{ trimSuffix ": {}" . | replace ": " " " }}{{ $first = false -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "text" -}}
{{ . | replace "\n" " " | replace "<" "&lt;" | replace "|" "\\|" }}
{{- end -}}
