{{/* What stands around each component's pods. */}}

{{- define "rouse.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "rouse.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready serves nobody: it must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "rouse.deploymentSelector" . | nindent 6 }}
{{- end -}}

{{/* Where whoever wants to hear of load finds the interceptors. */}}
{{- define "rouse.interceptorsEnv" -}}
- name: KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE
  value: {{ .Release.Namespace | quote }}
- name: KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE
  value: {{ include "rouse.adminService" . | quote }}
- name: KEDA_HTTP_SCALER_TARGET_ADMIN_DEPLOYMENT
  value: {{ include "rouse.name" (dict "root" $ "component" "interceptor") | quote }}
- name: KEDA_HTTP_SCALER_TARGET_ADMIN_PORT
  value: {{ int64 .Values.interceptor.admin.port | quote }}
{{- end -}}

{{- define "rouse.monitoringPeer" -}}
{{- with .Values.networkPolicy.monitoringNamespace -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . }}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" … "port" … "select" (dict …)): scrapes /metrics of the component's Service with these labels. */}}
{{- define "rouse.serviceMonitor" -}}
{{- if .root.Values.monitoring.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "rouse.metadata" . | nindent 2 }}
    {{- with .root.Values.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "rouse.selector" . | nindent 6 }}
      {{- toYaml .select | nindent 6 }}
  endpoints:
    - port: {{ .port }}
      path: /metrics
      interval: {{ .root.Values.monitoring.interval }}
{{- end -}}
{{- end -}}
