/** Bytes as text and back, hashed: WebCrypto and nothing else. */
import { ProofError } from './errors.js';
const encoder = new TextEncoder();
/** UTF-8. */
export function utf8(text) {
    return encoder.encode(text);
}
/** Standard base64 (RFC 4648, section 4). */
export function toBase64(data) {
    let binary = '';
    for (const byte of data)
        binary += String.fromCharCode(byte);
    return btoa(binary);
}
/** Base64url without padding (RFC 7515, section 2). */
export function toBase64Url(data) {
    return toBase64(data).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
/**
 * Standard base64; one text for one value: no stray characters, no stray bits.
 *
 * @throws ProofError it is not that.
 */
export function fromBase64(text, what) {
    const data = /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? decoded(text) : null;
    if (data === null || toBase64(data) !== text)
        throw new ProofError(`the ${what} is not canonical base64`);
    return data;
}
/** Base64url without padding, as strictly. Null: it is not that. */
export function fromBase64Url(text) {
    const data = /^[A-Za-z0-9_-]*$/.test(text) ? decoded(text.replaceAll('-', '+').replaceAll('_', '/')) : null;
    return data !== null && toBase64Url(data) === text ? data : null;
}
/**
 * Hexadecimal, lower or upper case.
 *
 * @throws ProofError it is not that.
 */
export function fromHex(text) {
    if (!/^(?:[0-9a-fA-F]{2})*$/.test(text))
        throw new ProofError('a hash is not hexadecimal');
    return Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}
/** Lower-case hexadecimal. */
export function toHex(data) {
    return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
/** End to end. */
export function concat(...parts) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}
/** Whether both are the same bytes; of public values only, since it does not take constant time. */
export function equal(one, other) {
    return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
export async function sha256(...parts) {
    return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(...parts)));
}
/** Whether `signature` is the key's over `data` (RFC 8032); `publicKey` has 32 bytes. */
export async function verifyEd25519(publicKey, signature, data) {
    const key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify']);
    return crypto.subtle.verify({ name: 'Ed25519' }, key, signature, data);
}
function decoded(text) {
    try {
        return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    }
    catch {
        return null;
    }
}
