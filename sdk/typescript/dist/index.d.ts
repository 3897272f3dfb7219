/** The Pactstream SDK: records what an agent does, asks before a call, and verifies trust reports. */
export { PactViolation, PreflightUnavailable, type ProblemKind, TelemetryProblem } from './errors.js';
export { JsonError } from './errors.js';
export { canonical, parseJson } from './canonical.js';
export type { Stats } from './buffer.js';
export type { EventContext, Metadata, ResponseOutcome, SessionOutcome, ToolOutcome } from './events.js';
export type { TelemetryOptions } from './options.js';
export type { Receipt, Status } from './receipt.js';
export type { ResponseEvent, Session, SessionEndEvent, SessionOptions, ToolCallEvent } from './session.js';
export { Telemetry } from './telemetry.js';
export type { Instrumented, ToolOptions } from './tool.js';
export * from './trust.js';
export { SEVERITIES, type Severity, Verdict, type Violation } from './verdict.js';
