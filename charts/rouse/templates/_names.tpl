{{/* Names and labels. Every template here takes the root context, or a dict of it and a component. */}}

{{/* The name of a component's objects: (dict "root" $ "component" "interceptor"). */}}
{{- define "rouse.name" -}}
{{- $suffix := get (dict "interceptor" "interceptor" "scaler" "external-scaler" "operator" "controller-manager") .component -}}
{{- printf "%s-%s" .root.Values.nameOverride $suffix -}}
{{- end -}}

{{- define "rouse.proxyService" -}}
{{- printf "%s-interceptor-proxy" .Values.nameOverride -}}
{{- end -}}

{{- define "rouse.adminService" -}}
{{- printf "%s-interceptor-admin" .Values.nameOverride -}}
{{- end -}}

{{/*
What selects a component's pods: what the add-on's chart has selected by in all its releases, so that the Services reach old
and new pods while a release of it is upgraded to this chart.
*/}}
{{- define "rouse.selector" -}}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: {{ .root.Values.nameOverride }}
{{- end -}}

{{/*
What a Deployment selects its pods by. It can never be changed in a cluster, so it is to the letter what the add-on's chart has
had since 0.11, the name included.
*/}}
{{- define "rouse.deploymentSelector" -}}
{{ include "rouse.selector" . }}
app.kubernetes.io/name: http-add-on
{{- end -}}

{{/* The labels of everything that belongs to a component. */}}
{{- define "rouse.labels" -}}
{{ include "rouse.deploymentSelector" . }}
app.kubernetes.io/version: {{ include "rouse.tag" .root | trunc 63 | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rouse.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{/* The head of an object of a component: (dict "root" $ "component" … "name" …), its namespace included. */}}
{{- define "rouse.metadata" -}}
name: {{ .name | default (include "rouse.name" .) }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "rouse.labels" . | nindent 2 }}
{{- end -}}
