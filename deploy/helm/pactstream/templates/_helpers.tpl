{{/* What each service is: module, ports, and what it must reach. The values say how much of it there is. */}}
{{- define "pactstream.services" -}}
gateway:
  {module: ingest_gateway, port: 8080, metrics: 9105, public: true, tls: true, asks: true}
evaluator:
  {module: evaluator_worker, port: 9101, metrics: 9101, worker: true, state: true, preflight: true, asks: true,
   group: evaluator, topic: telemetry.batches}
sealer:
  {module: ledger_sealer, port: 9102, metrics: 9102, worker: true, clickhouse: true, published: rw, retired: true,
   group: ledger-sealer, topic: telemetry.evaluated}
aggregator:
  {module: score_aggregator, port: 9103, metrics: 9103, worker: true, clickhouse: true,
   group: score-aggregator, topic: telemetry.evaluated}
oracle:
  {module: oracle_api, port: 8090, metrics: 9106, public: true, tls: true, clickhouse: true, published: ro, retired: true}
console:
  {module: oracle_api.console, port: 8091, metrics: 9109, public: true, tls: true, clickhouse: true, published: ro,
   forwards: true}
push:
  {module: oracle_api.push, port: 9104, metrics: 9104, worker: true, clickhouse: true, internet: true}
paging:
  {module: evaluator_worker.paging, port: 9110, metrics: 9110, worker: true, clickhouse: true, internet: true}
behaviour:
  {module: evaluator_worker.behaviour, port: 9107, metrics: 9107, worker: true}
anomaly:
  {module: evaluator_worker.anomaly, port: 9108, metrics: 9108, worker: true, clickhouse: true}
otlp:
  {module: evaluator_worker.otlp, port: 9111, metrics: 9111, worker: true, collectors: true}
external:
  {module: evaluator_worker.external, port: 9113, metrics: 9113, worker: true, evaluators: true}
{{- end -}}

{{/* Secrets by service. Keys come as variables: Kubernetes lets the group read mounted ones, which is refused. */}}
{{- define "pactstream.secrets" -}}
gateway:
  - {variable: PREFLIGHT_SECRET, of: gateway, key: preflight}
  - {variable: GATEWAY_ADMIN_KEY_SHA256, of: gateway, key: admin-key-sha256}
  - {variable: KEY_PAGING, of: pagingKey, key: paging.key}
evaluator:
  - {variable: PREFLIGHT_SECRET, of: gateway, key: preflight}
sealer:
  - {variable: KEY_LEDGER_ED25519, of: ledgerKey, key: ledger.ed25519.pem}
oracle:
  - {variable: KEY_REPORT_ES256, of: reportKeys, key: report.es256.pem}
  - {variable: KEY_REPORT_ED25519, of: reportKeys, key: report.ed25519.pem}
  - {variable: KEY_WEBHOOK, of: webhookKey, key: webhook.key}
console:
  - {variable: KEY_CONSOLE, of: consoleKey, key: console.key}
push:
  - {variable: KEY_WEBHOOK, of: webhookKey, key: webhook.key}
paging:
  - {variable: KEY_PAGING, of: pagingKey, key: paging.key}
otlp:
  - {variable: OTLP_DESTINATIONS, of: otlp, key: destinations}
external:
  - {variable: KEY_WEBHOOK, of: webhookKey, key: webhook.key}
  - {variable: KEY_EVALUATOR_ED25519, of: evaluatorKey, key: evaluator.ed25519.pem}
{{- end -}}

{{/* Ports of third-party evaluators, as a list in JSON: no other is reached. */}}
{{- define "pactstream.evaluatorPorts" -}}
{{- $ports := list -}}
{{- range .Values.services.external.evaluators -}}
{{- with .url -}}
{{- $given := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" -}}
{{- $ports = append $ports ($given | default (hasPrefix "https:" . | ternary "443" "80") | int) -}}
{{- end -}}
{{- end -}}
{{ $ports | uniq | toJson }}
{{- end -}}

{{- define "pactstream.name" -}}
{{ .Release.Name }}-{{ .service }}
{{- end -}}

{{- define "pactstream.selector" -}}
app.kubernetes.io/name: pactstream
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{- define "pactstream.labels" -}}
{{ include "pactstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "pactstream.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "pactstream.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "pactstream.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Kafka and ClickHouse for one user; `.user` is the service's name, or "operator". */}}
{{- define "pactstream.connections" -}}
{{- $kafkaUser := eq .user "operator" | ternary .Values.kafka.operatorUser (print .Values.kafka.userPrefix .user) -}}
{{- $clickhouseUser := eq .user "operator" | ternary .Values.clickhouse.operatorUser (print .Values.clickhouse.userPrefix .user) -}}
- {name: PACTSTREAM_DEPLOYMENT, value: {{ .Values.deployment | quote }}}
- {name: PACTSTREAM_KAFKA_BOOTSTRAP, value: {{ .Values.kafka.bootstrap | quote }}}
- {name: PACTSTREAM_KAFKA_SECURITY_PROTOCOL, value: {{ .Values.kafka.securityProtocol | quote }}}
- {name: PACTSTREAM_KAFKA_TOPIC_PREFIX, value: {{ .Values.kafka.topicPrefix | quote }}}
{{- if hasPrefix "SASL_" .Values.kafka.securityProtocol }}
- {name: PACTSTREAM_KAFKA_SASL_MECHANISM, value: {{ .Values.kafka.saslMechanism | quote }}}
- {name: PACTSTREAM_KAFKA_SASL_USERNAME, value: {{ $kafkaUser | quote }}}
- name: PACTSTREAM_KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.kafka.passwordsSecret | quote }}, key: {{ $kafkaUser | quote }}}}
{{- end }}
{{- if .Values.kafka.caSecret }}
- {name: PACTSTREAM_KAFKA_SSL_CA, value: /etc/pactstream/kafka/ca.crt}
{{- end }}
{{- if .clickhouse }}
- {name: PACTSTREAM_CLICKHOUSE_HOST, value: {{ .Values.clickhouse.host | quote }}}
- {name: PACTSTREAM_CLICKHOUSE_PORT, value: {{ .Values.clickhouse.port | quote }}}
- {name: PACTSTREAM_CLICKHOUSE_SECURE, value: {{ .Values.clickhouse.secure | quote }}}
- {name: PACTSTREAM_CLICKHOUSE_DATABASE, value: {{ .Values.clickhouse.database | quote }}}
{{- if .Values.clickhouse.cluster }}
- {name: PACTSTREAM_CLICKHOUSE_CLUSTER, value: {{ .Values.clickhouse.cluster | quote }}}
{{- end }}
- {name: PACTSTREAM_CLICKHOUSE_USER, value: {{ $clickhouseUser | quote }}}
- name: PACTSTREAM_CLICKHOUSE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.clickhouse.passwordsSecret | quote }}, key: {{ $clickhouseUser | quote }}}}
{{- if .Values.clickhouse.caSecret }}
- {name: PACTSTREAM_CLICKHOUSE_CA, value: /etc/pactstream/clickhouse/ca.crt}
{{- end }}
{{- end }}
{{- end -}}
