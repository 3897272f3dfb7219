/** The Pactstream SDK: records what an agent does, asks before a call, and verifies trust reports. */
export { PactViolation, PreflightUnavailable, TelemetryProblem } from './errors.js';
export { JsonError } from './errors.js';
export { canonical, parseJson } from './canonical.js';
export { Telemetry } from './telemetry.js';
export * from './trust.js';
export { SEVERITIES, Verdict } from './verdict.js';
