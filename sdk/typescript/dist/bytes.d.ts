/** Bytes that WebCrypto takes: not of shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>;
/** UTF-8. */
export declare function utf8(text: string): Bytes;
/** Standard base64 (RFC 4648, section 4). */
export declare function toBase64(data: Bytes): string;
/** Base64url without padding (RFC 7515, section 2). */
export declare function toBase64Url(data: Bytes): string;
/**
 * Standard base64; one text for one value: no stray characters, no stray bits.
 *
 * @throws ProofError it is not that.
 */
export declare function fromBase64(text: string, what: string): Bytes;
/** Base64url without padding, as strictly. Null: it is not that. */
export declare function fromBase64Url(text: string): Bytes | null;
/**
 * Hexadecimal, lower or upper case.
 *
 * @throws ProofError it is not that.
 */
export declare function fromHex(text: string): Bytes;
/** Lower-case hexadecimal. */
export declare function toHex(data: Bytes): string;
/** End to end. */
export declare function concat(...parts: readonly Bytes[]): Bytes;
/** Whether both are the same bytes; of public values only, since it does not take constant time. */
export declare function equal(one: Bytes, other: Bytes): boolean;
export declare function sha256(...parts: readonly Bytes[]): Promise<Bytes>;
/** Whether `signature` is the key's over `data` (RFC 8032); `publicKey` has 32 bytes. */
export declare function verifyEd25519(publicKey: Bytes, signature: Bytes, data: Bytes): Promise<boolean>;
