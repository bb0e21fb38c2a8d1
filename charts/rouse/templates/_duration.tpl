{{/* Durations as the binary reads them, to seconds: `1h30m` becomes 5400. What has no unit is 0. */}}
{{- define "rouse.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" (toString .) -1 -}}
{{- $unit := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+$" .) -}}
{{- $seconds = addf $seconds (mulf (regexFind "^[0-9.]+" . | float64) $unit) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/*
The interceptor's grace period: as long as its last request may still be held, and time for its answer. A drain that may take
for ever has no such period, so it has to be said how long the kubelet is to wait.
*/}}
{{- define "rouse.interceptorGrace" -}}
{{- $interceptor := .Values.interceptor -}}
{{- if $interceptor.terminationGracePeriodSeconds -}}
{{- int $interceptor.terminationGracePeriodSeconds -}}
{{- else -}}
{{- $longest := 0.0 -}}
{{- $bounds := dict "readinessTimeout" ($interceptor.readinessTimeout | default "180s") "extendedReadinessTimeout" $interceptor.extendedReadinessTimeout "drainTimeout" $interceptor.drainTimeout -}}
{{- range $name, $bound := $bounds -}}
{{- $seconds := include "rouse.seconds" $bound | float64 -}}
{{- if le $seconds 0.0 -}}
{{- fail (printf "interceptor.%s is %s, which is no bound: set interceptor.terminationGracePeriodSeconds to how long a pod may take to end" $name $bound) -}}
{{- end -}}
{{- $longest = maxf $longest $seconds -}}
{{- end -}}
{{- $delay := include "rouse.seconds" $interceptor.shutdownDelay | float64 -}}
{{- addf $interceptor.preStopSleepSeconds $delay $longest 15 | ceil | int -}}
{{- end -}}
{{- end -}}
