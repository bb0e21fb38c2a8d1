{{/* The tenants, each with everything that `defaults` says and its entry does not, as a YAML list under `tenants`. */}}
{{- define "tenant.all" -}}
{{- $entries := .Values.tenants -}}
{{- if not $entries -}}
{{- if or (not .Values.name) (not .Values.hosts) -}}
{{- fail "there is no tenant: set name and hosts for one, or tenants for a list" -}}
{{- end -}}
{{- $entries = list (dict "name" .Values.name "hosts" .Values.hosts) -}}
{{- else if or .Values.name .Values.hosts -}}
{{- fail "name and hosts are for one tenant, tenants is for a list: set one of them" -}}
{{- end -}}
{{- $all := list -}}
{{- $owners := dict -}}
{{- $names := dict -}}
{{- range $entry := $entries -}}
{{- if hasKey $names $entry.name -}}
{{- fail (printf "there are two tenants called %s" $entry.name) -}}
{{- end -}}
{{- $_ := set $names $entry.name true -}}
{{- range $host := $entry.hosts -}}
{{- if hasKey $owners (lower $host) -}}
{{- fail (printf "the host %s is claimed by %s and by %s" $host (get $owners (lower $host)) $entry.name) -}}
{{- end -}}
{{- $_ := set $owners (lower $host) $entry.name -}}
{{- end -}}
{{- $tenant := mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy $entry) -}}
{{- $_ := set $tenant "namespaceName" ($tenant.namespace.pattern | replace "{name}" $entry.name) -}}
{{- $all = append $all $tenant -}}
{{- end -}}
{{- dict "tenants" $all | toYaml -}}
{{- end -}}

{{- define "tenant.labels" -}}
app: {{ .tenant.app }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: {{ .tenant.name }}
{{- end -}}
