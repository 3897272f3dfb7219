/** C2SP tlog-cosignature, Ed25519: a witness's timestamped word on a checkpoint, and how many a verifier asks for. */
import { type Bytes } from './bytes.js';
import { ProofError } from './errors.js';
import { type Checkpoint, type LogKey } from './note.js';
/** A witness's Ed25519 key. */
export interface WitnessKey {
    readonly name: string;
    readonly keyId: string;
    readonly publicKey: Bytes;
}
/** Which witnesses a verifier knows, and how many of them must have cosigned. */
export interface WitnessPolicy {
    readonly witnesses: readonly WitnessKey[];
    readonly quorum: number;
}
/** A verified checkpoint, and when (seconds since 1970) each known witness cosigned it, by name. */
export interface Cosigned {
    readonly checkpoint: Checkpoint;
    readonly cosignedAt: ReadonlyMap<string, bigint>;
}
/** The log signed the note, and fewer of the known witnesses cosigned it than are asked for. */
export declare class TooFewCosignatures extends ProofError {
}
/**
 * The witnesses with these verifier keys; all of them must have cosigned, unless a quorum is given.
 *
 * @throws ProofError one is no witness's key, or so many cannot be asked for.
 */
export declare function witnessPolicy(keys: readonly string[], quorum?: number): Promise<WitnessPolicy>;
/**
 * The checkpoint of log `origin` in a note that the log signed and enough witnesses cosigned.
 *
 * @throws TooFewCosignatures fewer witnesses cosigned than the policy asks for.
 * @throws ProofError it does not open, is another log's, or a known witness's cosignature is bad.
 */
export declare function openCosigned(note: string, origin: string, keys: readonly LogKey[], policy: WitnessPolicy): Promise<Cosigned>;
