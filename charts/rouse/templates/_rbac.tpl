{{/* Permissions of a component. Rules are written once and bound as widely as the watched namespaces need. */}}

{{- define "rouse.checkWatch" -}}
{{- if and .Values.watch.namespaces .Values.watch.namespaceSelector -}}
{{- fail "watch.namespaces and watch.namespaceSelector exclude each other: set one of them" -}}
{{- end -}}
{{- end -}}

{{/* The account that the component's pods run as. */}}
{{- define "rouse.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "rouse.metadata" . | nindent 2 }}
# The pods ask for the token themselves.
automountServiceAccountToken: false
{{- end -}}

{{/*
Rules for the watched namespaces: a ClusterRole for all of them, or a Role in each that is listed.
(dict "root" $ "component" … "rules" "…")
*/}}
{{- define "rouse.watchedRole" -}}
{{- $name := include "rouse.name" . -}}
{{- $role := . -}}
{{- if .root.Values.watch.namespaces -}}
{{- range .root.Values.watch.namespaces | uniq | sortAlpha }}
---
{{ include "rouse.role" (merge (dict "kind" "Role" "name" (printf "%s-watched" $name) "namespace" .) $role) }}
{{- end }}
{{- else }}
---
{{ include "rouse.role" (merge (dict "kind" "ClusterRole" "name" (printf "%s-%s" $name .root.Release.Namespace)) .) }}
{{- end }}
{{- end -}}

{{/* One role and its binding: (dict "root" $ "component" … "kind" "Role" | "ClusterRole" "name" … "namespace" … "rules" "…") */}}
{{- define "rouse.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- if eq .kind "Role" }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "rouse.labels" . | nindent 4 }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- if eq .kind "Role" }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "rouse.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "rouse.name" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* What every component reads: the routes, and the namespaces where a selector chooses among them. */}}
{{- define "rouse.routeRules" -}}
- apiGroups: [http.keda.sh]
  resources: [httpscaledobjects, interceptorroutes]
  verbs: [get, list, watch]
{{- if .Values.watch.namespaceSelector }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end }}
{{- end -}}
