{{/* What the pods of all three components have in common. The templates take (dict "root" $ "component" … "values" …). */}}

{{/* Who runs, and with what rights: the image is one static program on an empty root, so nothing has to be written. */}}
{{- define "rouse.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "rouse.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
{{- end -}}

{{- define "rouse.image" -}}
image: {{ printf "%s:%s" .root.Values.image.repository (include "rouse.tag" .root) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end -}}

{{/* The environment that every component reads. */}}
{{- define "rouse.env" -}}
- name: ROUSE_LOG_FORMAT
  value: {{ .root.Values.log.format | quote }}
- name: RUST_LOG
  value: {{ .root.Values.log.filter | quote }}
- name: {{ if eq .component "operator" }}KEDA_HTTP_OPERATOR_WATCH_NAMESPACE{{ else }}KEDA_HTTP_WATCH_NAMESPACE{{ end }}
  value: {{ join "," (uniq .root.Values.watch.namespaces) | quote }}
{{- with .root.Values.watch.namespaceSelector }}
- name: ROUSE_WATCH_NAMESPACE_SELECTOR
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Where the pods go: nodes that Karpenter may take away are the last choice, and two on one node the last but one. */}}
{{- define "rouse.scheduling" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- if .values.affinity }}
  {{- toYaml .values.affinity | nindent 2 }}
  {{- else }}
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - key: karpenter.sh/nodepool
              operator: DoesNotExist
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 50
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "rouse.selector" . | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    # Of one rollout each: the pods that are going do not push the new ones together.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "rouse.selector" $ | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end -}}
