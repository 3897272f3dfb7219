/**
 * The Merkle tree of RFC 6962 and RFC 9162 (section 2.1), SHA-256, and C2SP's tiles of it.
 *
 * Sizes and indices are whole numbers up to 2^53 - 1, so halves are taken by division, not by 32-bit shifts.
 */
import { type Bytes } from './bytes.js';
/** Reads a published file by its path; `OracleUnavailable` where that fails, `ProofError` where there is none. */
export type FetchFile = (path: string) => Promise<Bytes>;
/**
 * Checks that leaf `index` of the tree (`size`, `root`) has this hash (RFC 9162, section 2.1.3.2).
 *
 * @throws ProofError it has not.
 */
export declare function verifyInclusion(leafHash: Bytes, index: number, size: number, proof: readonly Bytes[], root: Bytes): Promise<void>;
/**
 * The tree (`size`, `root`) of a checkpoint, in tiles that may lie: every hash is checked against the root before it
 * is used. The partial tiles on the right edge hold the roots of all complete subtrees, and so lead to the root; a
 * full tile is checked against its hash in the tile above it.
 */
export declare class TileReader {
    #private;
    readonly size: number;
    private readonly fetchFile;
    private readonly edge;
    private constructor();
    /** @throws ProofError a tile is missing, malformed, or does not lead to the root. */
    static open(fetchFile: FetchFile, size: number, root: Bytes): Promise<TileReader>;
    /** The root of the tree of the first `size` leaves. @throws ProofError beyond the tree. */
    rootAt(size: number): Promise<Bytes>;
    /** The audit path of a leaf (RFC 9162, section 2.1.3.1). @throws ProofError when there is no such leaf. */
    inclusionProof(index: number): Promise<Bytes[]>;
}
