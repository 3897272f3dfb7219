/** Fetches an agent's report and returns its claims only if everything that can be checked holds. */
import { type Bytes } from './bytes.js';
import { type Claims } from './report.js';
export { type Cosigned, openCosigned, TooFewCosignatures, type WitnessKey, type WitnessPolicy, witnessPolicy, } from './cosignature.js';
export { LedgerForked, LedgerUnproven, OracleUnavailable, PactstreamError, ProofError, ReportError, ReportExpired, ReportIssuerError, ReportMalformed, ReportSignatureError, ReportStale, UnknownAgent, } from './errors.js';
export { type FetchFile, TileReader, verifyInclusion } from './merkle.js';
export { type Checkpoint, type LogKey, openCheckpoint, parseLogKeys } from './note.js';
export { type Claims, type Expectations, verifyJwt, verifyReport } from './report.js';
/** What is remembered of one log: its keys, the largest checkpoint, and agents' newest leaves. Plain JSON. */
export interface Pin {
    readonly keys: readonly string[];
    readonly note: string;
    /** Sequence number and leaf hash by agent; in the order of use, the newest last. */
    readonly heads: Readonly<Record<string, readonly [number, string]>>;
}
/** Where pins are kept, by origin of the log. Whoever can write there can make the client forget. */
export interface TrustMemory {
    get(origin: string): Pin | undefined | Promise<Pin | undefined>;
    set(origin: string, pin: Pin): unknown;
}
export interface TrustClientOptions {
    /** Whose reports these must be. */
    readonly issuer: string;
    /** The issuer's key set, decoded, which you got from the issuer once: keys that come with a report prove nothing. */
    readonly jwks: unknown;
    /** The oracle; `https://` and the issuer unless given. */
    readonly url?: string;
    /** The logs' verifier keys as text; without them the first ones that the oracle publishes are trusted. */
    readonly logKeys?: string;
    /** Witnesses' verifier keys, got from them: they must have cosigned the report's tree, or one that extends it. */
    readonly witnesses?: readonly string[];
    /** How many of them; all, unless given. */
    readonly quorum?: number;
    /** Remembers checkpoints; unless given, they are remembered as long as the client lives. */
    readonly memory?: TrustMemory;
    /** Whether what the report says of the ledger is checked; it is, unless this is false. */
    readonly checkLedger?: boolean;
    readonly maxAgeSeconds?: number;
    readonly maxLagSeconds?: number;
    readonly timeoutSeconds?: number;
    /** In place of the global `fetch`. */
    readonly fetch?: typeof fetch;
}
/** Reports of one issuer; it remembers what it saw of the ledger, so make one and share it. */
export declare class TrustClient {
    #private;
    constructor(options: TrustClientOptions);
    /**
     * The claims of the agent's report, all checks passed.
     *
     * @throws OracleUnavailable the oracle does not answer; try again.
     * @throws UnknownAgent it knows nothing of the agent.
     * @throws ReportError the report is not the issuer's, not in force, too old, or not of the ledger that it names.
     * @throws ProofError a witness's key is none, or so many cosignatures cannot be asked for.
     * @throws TypeError the agent's id is not a UUID.
     */
    get(agentId: string): Promise<Claims>;
}
/** An answer's content; null: it is longer than `maxBytes`. */
export declare function bounded(response: Response, maxBytes: number): Promise<Bytes | null>;
