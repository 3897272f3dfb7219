/** What the SDK throws, and what it reports instead of throwing. */
import type { Verdict } from './verdict.js';
/** Every error of this package. */
export declare class PactstreamError extends Error {
    constructor(message: string, options?: ErrorOptions);
}
/**
 * Why a `TelemetryProblem` is reported:
 *
 * - `dropped`: events are lost on this side (buffer full, closed, or given up after retries);
 * - `rejected`: the server refused events and will refuse them again;
 * - `delayed`: a delivery failed and is being retried, or had not ended when the time to close was up;
 * - `invalid`: a telemetry method was called with unusable arguments;
 * - `answer`: the server's answer could not be used (the events themselves arrived);
 * - `preflight`: a pre-flight could not be had, and the call went ahead (`preflightUnavailable: 'allow'`);
 * - `callback`: `onVerdict` or `onReceipt` threw.
 */
export type ProblemKind = 'dropped' | 'rejected' | 'delayed' | 'invalid' | 'answer' | 'preflight' | 'callback';
/** A telemetry fault: handed to `onError`, never thrown into the agent. */
export declare class TelemetryProblem extends PactstreamError {
    readonly kind: ProblemKind;
    /** Events (or faults) of this kind since the last report of the kind. */
    readonly count: number;
    /** Set where one event is meant. */
    readonly eventId?: string | undefined;
    constructor(kind: ProblemKind, message: string, 
    /** Events (or faults) of this kind since the last report of the kind. */
    count?: number, 
    /** Set where one event is meant. */
    eventId?: string | undefined);
}
/** The pact forbids this call; the tool was not called. `verdict` says which rules it breaks. */
export declare class PactViolation extends PactstreamError {
    readonly verdict: Verdict;
    constructor(verdict: Verdict);
}
/** `blockOn` is set and no verdict could be had before the call, so the tool was not called. */
export declare class PreflightUnavailable extends PactstreamError {
}
/** A value that is not canonical JSON, or a text that is not JSON. */
export declare class JsonError extends PactstreamError {
}
/** A note, key, checkpoint, proof or tile that is malformed, or does not hold. */
export declare class ProofError extends PactstreamError {
}
/** The oracle does not answer, or says that it cannot now: nothing is known, for or against the agent. */
export declare class OracleUnavailable extends PactstreamError {
}
/** The oracle knows nothing of this agent. */
export declare class UnknownAgent extends PactstreamError {
}
/** A report or token that must not be trusted, and why. */
export declare class ReportError extends PactstreamError {
}
/** It, or the key set, has not the form that it should have. */
export declare class ReportMalformed extends ReportError {
}
/** A signature is bad, by an unknown or retired key, or by another algorithm than its key's. */
export declare class ReportSignatureError extends ReportError {
}
/** Somebody else issued it. */
export declare class ReportIssuerError extends ReportError {
}
/** It is not in force: expired, not yet valid, or valid for too long to be believed. */
export declare class ReportExpired extends ReportError {
}
/** In force by its own dates, but older, or further behind the ledger, than the caller accepts. */
export declare class ReportStale extends ReportError {
}
/** The checkpoint is not the log's, or what the report says of the ledger does not follow from it. */
export declare class LedgerUnproven extends ReportError {
}
/** The ledger is not the one seen before: keep both checkpoints, they are evidence against the operator. */
export declare class LedgerForked extends ReportError {
}
