/**
 * C2SP signed-note and tlog-checkpoint: a tree head as a text that anyone can check.
 *
 * Checked exactly: a signature of an unknown key is ignored, a bad one of a known key refuses the whole note, and
 * any byte that does not belong is an error.
 */
import { fromBase64, sha256, toHex, utf8, verifyEd25519 } from './bytes.js';
import { ProofError } from './errors.js';
const MAX_NOTE_BYTES = 1_000_000;
const MAX_SIGNATURES = 100;
const ED25519 = 1;
const SIGNATURE_LINE = /^— ([^ ]+) ([A-Za-z0-9+/]+={0,2})$/;
const VERIFIER_KEY = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/;
const SIZE = /^(?:0|[1-9][0-9]{0,15})$/;
/**
 * The checkpoint of log `origin` in a signed note, signed by at least one of `keys`.
 *
 * @throws ProofError it does not open, is no checkpoint, or is another log's.
 */
export async function openCheckpoint(note, origin, keys) {
    const { text, signatures } = parseNote(note);
    const checkpoint = parseCheckpoint(text);
    let verified = 0;
    for (const one of signatures) {
        const key = keys.find((known) => known.name === one.name && known.keyId === one.keyId);
        if (key === undefined)
            continue;
        const named = `${one.name}+${one.keyId}`;
        if (key.maxSize !== null && checkpoint.size > key.maxSize) {
            throw new ProofError(`the key ${named} vouches for trees of up to ${key.maxSize} leaves only`);
        }
        if (!(await verifyEd25519(key.publicKey, one.signature, utf8(text)))) {
            throw new ProofError(`the signature of ${named} is bad`);
        }
        verified += 1;
    }
    if (verified === 0)
        throw new ProofError('no known key signed the note');
    if (checkpoint.origin !== origin) {
        throw new ProofError(`the checkpoint is of log '${checkpoint.origin}', not '${origin}'`);
    }
    return checkpoint;
}
/** The checkpoint in a note that was opened before: its signatures are not looked at. @throws ProofError */
export function readCheckpoint(note) {
    return parseCheckpoint(parseNote(note).text);
}
/**
 * The keys of each log by origin, one a line; empty lines and lines that begin with # do not count.
 *
 * @throws ProofError a line is no verifier key, or there is none.
 */
export async function parseLogKeys(text) {
    const known = new Map();
    for (const line of text.split(/\r?\n/).map((one) => one.trim())) {
        if (line === '' || line.startsWith('#'))
            continue;
        const key = await parseLogKey(line);
        known.set(key.name, [...(known.get(key.name) ?? []), key]);
    }
    if (known.size === 0)
        throw new ProofError('there is no verifier key');
    return known;
}
async function parseLogKey(line) {
    const [, key = '', limit] = /^(\S+)(?: until (0|[1-9][0-9]{0,15}))?$/.exec(line) ?? [];
    if (key === '')
        throw new ProofError('it is a verifier key, or one with `until` and a number of leaves');
    return { ...(await parseVerifierKey(key, ED25519)), maxSize: limit === undefined ? null : Number(limit), line };
}
/**
 * Name, id and Ed25519 public key in a verifier key text of this signature type.
 *
 * @throws ProofError it is none.
 */
export async function parseVerifierKey(text, signatureType) {
    const [, name = '', keyId = '', encoded = ''] = VERIFIER_KEY.exec(text) ?? [];
    if (name === '')
        throw new ProofError('it is no verifier key');
    const data = fromBase64(encoded, 'verifier key');
    if (data.length !== 33 || data[0] !== signatureType) {
        throw new ProofError(`the verifier key is not an Ed25519 key of signature type ${signatureType}`);
    }
    const id = (await sha256(utf8(`${name}\n`), data)).slice(0, 4);
    if (toHex(id) !== keyId)
        throw new ProofError("the verifier key's id does not belong to its name and key");
    return { name, keyId, publicKey: data.slice(1) };
}
/** A note's text and signatures, not verified. @throws ProofError a byte is not in its place. */
export function parseNote(note) {
    const bytes = utf8(note);
    if (bytes.length > MAX_NOTE_BYTES)
        throw new ProofError(`a note has at most ${MAX_NOTE_BYTES} bytes`);
    if (/\p{Surrogate}/u.test(note))
        throw new ProofError('a note must be UTF-8');
    if (/[\x00-\x09\x0b-\x1f]/.test(note))
        throw new ProofError('a note must not contain control characters');
    const at = note.lastIndexOf('\n\n'); // the text may have empty lines: the last one splits
    if (at < 0 || !note.endsWith('\n'))
        throw new ProofError('a note ends in an empty line and signature lines');
    const lines = note.slice(at + 2, -1).split('\n');
    if (lines.length > MAX_SIGNATURES)
        throw new ProofError(`a note has at most ${MAX_SIGNATURES} signatures`);
    return { text: note.slice(0, at + 1), signatures: lines.map(parseSignature) };
}
function parseSignature(line) {
    const [, name = '', encoded = ''] = SIGNATURE_LINE.exec(line) ?? [];
    if (name === '' || /[+\s]/.test(name)) {
        throw new ProofError('a signature line is an em dash, a name and a base64 signature');
    }
    const data = fromBase64(encoded, 'signature');
    if (data.length <= 4)
        throw new ProofError('a signature has a 4-byte key id and at least one byte');
    return { name, keyId: toHex(data.slice(0, 4)), signature: data.slice(4) };
}
function parseCheckpoint(text) {
    const lines = text.split('\n');
    const last = lines.pop();
    const [origin = '', size = '', root = ''] = lines;
    if (last !== '' || lines.length < 3 || lines.includes('')) {
        throw new ProofError('not a checkpoint: it has at least three lines, none of them empty');
    }
    if (!SIZE.test(size) || !Number.isSafeInteger(Number(size))) {
        throw new ProofError('not a checkpoint: the size is not a decimal number');
    }
    const hash = fromBase64(root, 'root hash');
    if (hash.length !== 32)
        throw new ProofError('not a checkpoint: the root hash is not 32 bytes long');
    return { origin, size: Number(size), root: hash };
}
