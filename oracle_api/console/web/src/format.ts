/** How figures and times are written. */

export function time(iso: string): string {
  return new Date(iso).toLocaleTimeString("en-GB", { hour12: false });
}

export function dateTime(iso: string): string {
  const at = new Date(iso);
  const day = at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${at.toLocaleTimeString("en-GB", { hour12: false })}`;
}

export function ago(iso: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function share(part: number, whole: number, digits = 1): string {
  return whole ? `${number((100 * part) / whole, digits)} %` : "–";
}

export function millis(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value >= 1000 ? `${number(value / 1000, 2)} s` : `${number(value, value < 10 ? 1 : 0)} ms`;
}

export function short(id: string): string {
  return id.slice(0, 8);
}

export function counted(count: number, what: string): string {
  return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
}

/** JSON as people read it; other text as it is. */
export function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/** A value in one line. */
export function inline(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const RULES: Record<string, string> = {
  allowList: "is not on the allow list",
  denyList: "is on the deny list",
  regex: "does not match the pattern",
  valueRange: "is out of range",
  maxAmount: "is above the allowed amount",
  required: "is missing",
  unknownParams: "is not a known parameter",
  window: "takes a window beyond its limit",
};

export function ruleText(rule: string): string {
  return RULES[rule] ?? `violates ${rule}`;
}

const TYPES: Record<string, string> = {
  session_start: "Session begins",
  session_end: "Session ends",
  tool_call: "Tool call",
  response: "Response",
  "tool_call.violation": "Violation of a window",
  erasure: "Erasure",
  attestation: "Attestation",
  evaluation: "Verdict of a third party",
  page: "Page",
};

export function typeText(type: string): string {
  return TYPES[type] ?? type;
}

/** The bands of the compliance dashboard: 99.5 % and 99 %. */
export function band(valid: number, bound: number): string {
  if (!bound || valid / bound >= 0.995) return "";
  return valid / bound >= 0.99 ? "warn" : "bad";
}

/** A name as words: `latencySpread` and `latency_spread` are both "Latency spread". */
export function words(name: string): string {
  const spaced = name
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/[_-]/g, " ")
    .toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
