/**
 * C2SP signed-note and tlog-checkpoint: a tree head as a text that anyone can check.
 *
 * Checked exactly: a signature of an unknown key is ignored, a bad one of a known key refuses the whole note, and
 * any byte that does not belong is an error.
 */
import { type Bytes } from './bytes.js';
/** A signed tree head: the log's origin, its size in leaves, its 32-byte root. */
export interface Checkpoint {
    readonly origin: string;
    readonly size: number;
    readonly root: Bytes;
}
/** A log's Ed25519 key; with `maxSize`, it vouches for trees of up to so many leaves. `line` is its text. */
export interface LogKey {
    readonly name: string;
    readonly keyId: string;
    readonly publicKey: Bytes;
    readonly maxSize: number | null;
    readonly line: string;
}
/**
 * The checkpoint of log `origin` in a signed note, signed by at least one of `keys`.
 *
 * @throws ProofError it does not open, is no checkpoint, or is another log's.
 */
export declare function openCheckpoint(note: string, origin: string, keys: readonly LogKey[]): Promise<Checkpoint>;
/** The checkpoint in a note that was opened before: its signatures are not looked at. @throws ProofError */
export declare function readCheckpoint(note: string): Checkpoint;
/**
 * The keys of each log by origin, one a line; empty lines and lines that begin with # do not count.
 *
 * @throws ProofError a line is no verifier key, or there is none.
 */
export declare function parseLogKeys(text: string): Promise<ReadonlyMap<string, readonly LogKey[]>>;
/**
 * Name, id and Ed25519 public key in a verifier key text of this signature type.
 *
 * @throws ProofError it is none.
 */
export declare function parseVerifierKey(text: string, signatureType: number): Promise<{
    name: string;
    keyId: string;
    publicKey: Bytes;
}>;
interface Signature {
    readonly name: string;
    readonly keyId: string;
    readonly signature: Bytes;
}
/** A note's text and signatures, not verified. @throws ProofError a byte is not in its place. */
export declare function parseNote(note: string): {
    text: string;
    signatures: readonly Signature[];
};
export {};
