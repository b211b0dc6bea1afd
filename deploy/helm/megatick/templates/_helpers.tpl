{{- define "megatick.selector" -}}
app.kubernetes.io/name: megatick
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "megatick.labels" -}}
{{ include "megatick.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What a schema cannot say, or not clearly. */}}
{{- define "megatick.check" -}}
{{- if not .Values.image }}
  {{- fail "image: expected the image that deploy/container makes, found none" }}
{{- end }}
{{- range $value, $image := dict "image" .Values.image "repository.image" .Values.repository.image }}
  {{- if and $image (not (regexMatch "^\\S+(:[^\\s/]+|@sha256:[0-9a-f]{64})$" $image)) }}
    {{- fail (printf "%s: expected a tag or a digest, such as in registry.example/name:0.1.0, found %s" $value $image) }}
  {{- end }}
{{- end }}
{{- with .Values.repository }}
  {{- if regexMatch "^/|(^|/)[.][.](/|$)" .path }}
    {{- fail (printf "repository.path: expected a folder inside, such as models/2026-11-28, found %s" .path) }}
  {{- end }}
  {{- if and .image .claim }}
    {{- fail "repository: expected either an image or a claim, found both" }}
  {{- else if not (or .image .claim) }}
    {{- fail "repository: expected an image or a claim, with what `megatick export` wrote, found neither" }}
  {{- end }}
{{- end }}
{{- if and .Values.tls.clientCa (not .Values.tls.secret) }}
  {{- fail "tls.clientCa: expected tls.secret besides, found none: there are no client certificates without TLS" }}
{{- end }}
{{- if ne (empty .Values.audit.claim) (empty .Values.audit.keySecret) }}
  {{- fail "audit: expected claim and keySecret, or neither, found one of them" }}
{{- end }}
{{- with .Values.autoscaling.maxReplicas }}
  {{- if lt (int .) (int $.Values.replicas) }}
    {{- fail (printf "autoscaling.maxReplicas: expected at least replicas, %d, found %d" (int $.Values.replicas) (int .)) }}
  {{- end }}
{{- end }}
{{- range .Values.extraArgs }}
  {{- if regexMatch "^--(address|grpc-port|(no-)?metrics|tls|caller-key|admin-key|audit|ready-|stop-|connection-age)" . }}
    {{- fail (printf "extraArgs: expected none that the chart gives by itself, found %s; see values.yaml" .) }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "megatick.args" -}}
- serve
- /repository
- --address=0.0.0.0
- --metrics-address=0.0.0.0
- --ready-timeout={{ .Values.readyTimeoutSeconds }}
- --stop-timeout={{ .Values.stopTimeoutSeconds }}
- --connection-age={{ .Values.connectionAgeSeconds }}
{{- if .Values.tls.secret }}
- --tls-certificate=/secrets/tls.crt
- --tls-key=/secrets/tls.key
{{- end }}
{{- if .Values.tls.clientCa }}
- --tls-client-ca=/secrets/clients.crt
{{- end }}
{{- if .Values.keys.caller }}
- --caller-key-file=/secrets/caller.key
{{- end }}
{{- if .Values.keys.admin }}
- --admin-key-file=/secrets/admin.key
{{- end }}
{{- if .Values.audit.claim }}
- --audit=/audit/$(POD_NAME)
- --audit-key-file=/secrets/audit.key
- --audit-failure={{ .Values.audit.onFailure }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* Sources of the one volume that holds all secrets. */}}
{{- define "megatick.secrets" -}}
{{- with .Values.tls.secret -}}
- secret:
    name: {{ . }}
    items: [{ key: tls.crt, path: tls.crt }, { key: tls.key, path: tls.key }]
{{- end }}
{{- with .Values.tls.clientCa }}
- secret:
    name: {{ . }}
    items: [{ key: ca.crt, path: clients.crt }]
{{- end }}
{{- range $path, $name := dict "caller.key" .Values.keys.caller "admin.key" .Values.keys.admin "audit.key" .Values.audit.keySecret }}
{{- with $name }}
- secret:
    name: {{ . }}
    items: [{ key: key, path: {{ $path }} }]
{{- end }}
{{- end }}
{{- end }}

{{/* The kubelet speaks no TLS over gRPC.  Triton opens its metrics last. */}}
{{- define "megatick.probe" -}}
{{- if .Values.tls.secret -}}
httpGet: { path: /metrics, port: metrics }
{{- else -}}
grpc: { port: 8001 }
{{- end }}
timeoutSeconds: 5  # a saturated server answers late, and is no dead one
{{- end }}

{{/* Until every connection has been renewed: Triton lets it grow a tenth older, and it may
have been made until kube-proxy heard of the pod's end. */}}
{{- define "megatick.drainSeconds" -}}
{{- add 5 (ceil (mulf 1.1 .Values.connectionAgeSeconds)) }}
{{- end }}
