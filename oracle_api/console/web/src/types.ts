/** What the console's own server answers; see `oracle_api/console`. */

export type Severity = "critical" | "major" | "minor" | "info";

export interface Visitor {
  tenant: string;
  tenantId: string;
  key: string;
  keyId: string;
  scopes: string[];
}

export interface Violation {
  paramPath: string;
  rule: string;
  severity: Severity;
}

export interface Event {
  log: number;
  leafIndex: number;
  eventId: string;
  type: string;
  agentId: string;
  sessionId: string;
  parentEventId: string | null;
  sequence: number;
  occurredAt: string;
  receivedAt: string;
  tool: string;
  outcome: string;
  latencyMs: number | null;
  tokenCount: number | null;
  pactId: string | null;
  pactVersion: number | null;
  bound: boolean;
  valid: boolean | null;
  severity: Severity | "";
  violations: Violation[];
  omitted: number;
}

export interface Value {
  field: string;
  json: string;
  cut: boolean;
}

export interface FullEvent {
  event: Event;
  values: Value[];
  leaf: string;
  leafHash: string;
}

export interface Session {
  events: Event[];
  values: Record<string, Value[]>;
  complete: boolean;
}

export interface ListedAgent {
  agentId: string;
  name: string;
  status: string;
  sessions: number;
  calls: number;
  errors: number;
  bound: number;
  valid: number;
  lastSeenAt: string | null;
  composite: number | null;
  tier: string | null;
  confidence: number | null;
}

export interface Point {
  at: number;
  sessions: number;
  calls: number;
  errors: number;
  bound: number;
  valid: number;
  critical: number;
  major: number;
  minor: number;
  info: number;
  latency: (number | null)[];
}

export interface OraclePoint {
  at: number;
  queries: number;
  failures: number;
  latency: (number | null)[];
  checks: number;
  failedChecks: number;
  lagSeconds: number | null;
  queriesPerSecond: number | null;
}

export interface Dimension {
  name: string;
  weight: number;
  score: number | null;
  confidence: number;
  sampleSize: number;
}

export interface Score {
  composite: number | null;
  points: number | null;
  confidence: number | null;
  coveredWeight: number;
  tier: string | null;
  sampleSize: number;
  computedAt: string;
  dimensions: Dimension[];
}

export interface Fall {
  day: string;
  previousDay: string;
  composite: number;
  previous: number;
  change: number;
  contributions: { dimension: string; change: number }[];
  events: { eventId: string; dimension: string; what: string }[];
}

export interface Anomaly {
  anomalyId: string;
  kind: string;
  status: string;
  since: string;
  detectedAt: string;
  features: { feature: string; direction: string; observed: number; usual: number; effect: number }[];
  attribution: Record<string, string>;
  evidence: number;
}

export interface AgentDetail {
  agentId: string;
  name: string;
  status: string;
  now: number;
  points: Point[];
  paths: { paramPath: string; rule: string; severity: Severity; count: number }[];
  score: Score | null;
  nights: { day: string; composite: number | null }[];
  falls: Fall[];
  oracle: OraclePoint[];
  pages: Page[];
  anomalies: Anomaly[];
}

export interface Page {
  pageId: string;
  agentId: string;
  pactId: string;
  pactVersion: number;
  rule: string;
  paramPath: string;
  severity: Severity;
  tool: string;
  sessionId: string;
  status: "open" | "acknowledged" | "closed";
  resolution: "" | "accepted" | "blocked" | "rotated";
  occurrences: number;
  openedAt: string;
  lastAt: string;
  updatedAt: string;
  eventId: string;
  lastEventId: string;
}

export interface FullPage extends Page {
  agentName: string;
  agentStatus: string;
  violations: (Violation & { value?: unknown; expected?: unknown; message?: string })[];
  recentCalls: {
    eventId: string;
    tool: string;
    outcome: string;
    valid: boolean | null;
    severity: Severity | "" | null;
    occurredAt: string;
    params?: unknown;
  }[];
  history: { at: string; by: string; action: string; reason?: string }[];
  deliveries: { route: string; kind: string; state: string; attempts: number; error?: string }[];
}

export interface Difference {
  tool: string;
  place: string;
  rule: string;
  kind: "added" | "removed" | "changed";
  text: string;
  direction: "stricter" | "looser" | "differs" | null;
}

export interface Diff {
  same: boolean;
  differences: Difference[];
}

export interface Replay {
  since: string;
  calls: number;
  erased: number;
  cut: boolean;
  worse: number;
  better: number;
  verdicts: { before: string; after: string; calls: number }[];
  rules: { tool: string; paramPath: string; rule: string; before: number; after: number }[];
  changed: {
    eventId: string;
    tool: string;
    occurredAt: string;
    before: string;
    after: string;
    rules: string[];
  }[];
}

export interface Proposal {
  baseVersion: number;
  document: unknown;
  diff: Diff;
  replay: Replay;
}

export interface PactSummary {
  pactId: string;
  version: number;
  name: string;
  agentId: string | null;
  hash: string;
  createdAt: string;
  createdBy: string;
}

export interface Pact extends PactSummary {
  document: unknown;
}

export interface Fault {
  path: string;
  message: string;
  start: number;
  end: number;
  line: number;
  column: number;
}

export interface Ledger {
  keys: string;
  checkpoints: { log: number; note: string }[];
}
