/** C2SP tlog-cosignature, Ed25519: a witness's timestamped word on a checkpoint, and how many a verifier asks for. */
import { toHex, utf8, verifyEd25519 } from './bytes.js';
import { ProofError } from './errors.js';
import { openCheckpoint, parseNote, parseVerifierKey } from './note.js';
/** The log signed the note, and fewer of the known witnesses cosigned it than are asked for. */
export class TooFewCosignatures extends ProofError {
}
const COSIGNATURE = 4;
const TIMESTAMP_BYTES = 8;
const SIGNATURE_BYTES = 64;
const MAX_TIMESTAMP = 2n ** 63n - 1n;
/**
 * The witnesses with these verifier keys; all of them must have cosigned, unless a quorum is given.
 *
 * @throws ProofError one is no witness's key, or so many cannot be asked for.
 */
export async function witnessPolicy(keys, quorum = keys.length) {
    const witnesses = await Promise.all(keys.map((key) => parseVerifierKey(key, COSIGNATURE)));
    // The signed message does not name the witness: one key under two names would count twice.
    const distinct = new Set(witnesses.map(({ publicKey }) => toHex(publicKey))).size;
    if (distinct < witnesses.length || !Number.isSafeInteger(quorum) || quorum < 0 || quorum > distinct) {
        throw new ProofError(`${quorum} cosignatures by ${distinct} distinct witnesses cannot be asked for`);
    }
    return { witnesses, quorum };
}
/**
 * The checkpoint of log `origin` in a note that the log signed and enough witnesses cosigned.
 *
 * @throws TooFewCosignatures fewer witnesses cosigned than the policy asks for.
 * @throws ProofError it does not open, is another log's, or a known witness's cosignature is bad.
 */
export async function openCosigned(note, origin, keys, policy) {
    const checkpoint = await openCheckpoint(note, origin, keys);
    const { text, signatures } = parseNote(note);
    const cosignedAt = new Map();
    for (const { name, keyId, signature } of signatures) {
        const witness = policy.witnesses.find((known) => known.name === name && known.keyId === keyId);
        if (witness === undefined)
            continue;
        const seconds = await timestampOf(witness.publicKey, text, signature);
        if (seconds === null)
            throw new ProofError(`the cosignature of ${name}+${keyId} is bad`);
        cosignedAt.set(name, seconds);
    }
    if (cosignedAt.size < policy.quorum) {
        throw new TooFewCosignatures(`${cosignedAt.size} of ${policy.witnesses.length} known witnesses cosigned the checkpoint of ` +
            `${checkpoint.size} leaves; asked for are ${policy.quorum}`);
    }
    return { checkpoint, cosignedAt };
}
/** When the key cosigned the checkpoint's text; null: it did not. */
async function timestampOf(publicKey, text, signature) {
    if (signature.length !== TIMESTAMP_BYTES + SIGNATURE_BYTES)
        return null;
    const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
    if (seconds > MAX_TIMESTAMP)
        return null;
    const message = utf8(`cosignature/v1\ntime ${seconds}\n${text}`);
    return (await verifyEd25519(publicKey, signature.slice(TIMESTAMP_BYTES), message)) ? seconds : null;
}
