/**
 * Proofs checked here, in the browser, by WebCrypto and nothing else.
 * Sources: RFC 6962 (hashes), RFC 9162 (2.1.3.2, 2.1.4.2), c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof.
 */

export interface Checkpoint {
  origin: string;
  size: number;
  root: Uint8Array;
}

export interface Note {
  text: string;
  signatures: { name: string; keyId: Uint8Array; signature: Uint8Array }[];
}

export interface Key {
  name: string;
  keyId: Uint8Array;
  publicKey: Uint8Array;
  maxSize: number | null;
}

export interface Proof {
  index: number;
  path: Uint8Array[];
  leaf: Uint8Array;
  note: string;
}

export class NotVerified extends Error {}

const HASH = 32;
const ED25519 = 1;
const bytesOf = (text: string) => new TextEncoder().encode(text);

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
}

export function base64(text: string): Uint8Array<ArrayBuffer> {
  let decoded: string;
  try {
    decoded = atob(text);
  } catch {
    throw new NotVerified("what should be base64 is not");
  }
  return Uint8Array.from(decoded, (one) => one.charCodeAt(0));
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((one, n) => one === b[n]);
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of parts) {
    all.set(one, at);
    at += one.length;
  }
  return all;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export const leafHash = (leaf: Uint8Array) => sha256(joined(Uint8Array.of(0), leaf));
const nodeHash = (left: Uint8Array, right: Uint8Array) => sha256(joined(Uint8Array.of(1), left, right));

/** A non-negative integer without a leading zero, exact in a double. */
function size(text: string | undefined): number {
  const value = Number(text);
  if (!text || !/^(0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(value)) {
    throw new NotVerified("a size or an index is no number");
  }
  return value;
}

export function parseNote(note: string): Note {
  const cut = note.lastIndexOf("\n\n");
  if (cut < 0) throw new NotVerified("this is no signed note");
  const lines = note.slice(cut + 2).split("\n");
  if (lines.pop() !== "" || lines.length === 0) throw new NotVerified("the note's signatures are cut off");
  const signatures = lines.map((line) => {
    const found = /^— ([^ ]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line);
    if (!found?.[1] || !found[2]) throw new NotVerified("a signature line is malformed");
    const blob = base64(found[2]);
    return { name: found[1], keyId: blob.slice(0, 4), signature: blob.slice(4) };
  });
  return { text: note.slice(0, cut + 1), signatures };
}

export function parseCheckpoint(text: string): Checkpoint {
  const [origin, count, root] = text.split("\n");
  if (!origin || !root) throw new NotVerified("this is no checkpoint");
  const hash = base64(root);
  if (hash.length !== HASH) throw new NotVerified("the checkpoint's root is no SHA-256");
  return { origin, size: size(count), root: hash };
}

/** The keys in the published file, each checked against its own id. */
export async function parseKeys(text: string): Promise<Key[]> {
  const keys: Key[] = [];
  for (const line of text.split("\n").filter(Boolean)) {
    const found = /^([^ +]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)(?: until ([0-9]+))?$/.exec(line);
    if (!found?.[1] || !found[3]) throw new NotVerified("a key is malformed");
    const data = base64(found[3]);
    const id = (await sha256(joined(bytesOf(`${found[1]}\n`), data))).slice(0, 4);
    if (hex(id) !== found[2] || data[0] !== ED25519 || data.length !== 33) {
      throw new NotVerified(`the key of ${found[1]} is not what its id says`);
    }
    keys.push({
      name: found[1],
      keyId: id,
      publicKey: data.slice(1),
      maxSize: found[4] ? size(found[4]) : null,
    });
  }
  return keys;
}

/** The checkpoint in a note that one of the keys signed. */
export async function openNote(note: string, keys: Key[]): Promise<Checkpoint> {
  const parsed = parseNote(note);
  const checkpoint = parseCheckpoint(parsed.text);
  let verified = false;
  for (const key of keys) {
    for (const one of parsed.signatures) {
      if (one.name !== key.name || !equal(one.keyId, key.keyId)) continue;
      if (key.name !== checkpoint.origin) throw new NotVerified("the key is of another log");
      if (key.maxSize !== null && checkpoint.size > key.maxSize)
        throw new NotVerified("the key was cut off before this tree");
      if (!(await signatureHolds(key.publicKey, one.signature, parsed.text))) {
        throw new NotVerified("the checkpoint's signature does not hold");
      }
      verified = true;
    }
  }
  if (!verified) throw new NotVerified("no known key signed the checkpoint");
  return checkpoint;
}

async function signatureHolds(publicKey: Uint8Array, signature: Uint8Array, text: string): Promise<boolean> {
  let key: CryptoKey;
  try {
    key = await crypto.subtle.importKey("raw", joined(publicKey), "Ed25519", false, ["verify"]);
  } catch {
    throw new NotVerified(
      "this browser's WebCrypto has no Ed25519: use a newer one, or pactstream verify proof",
    );
  }
  return crypto.subtle.verify("Ed25519", key, joined(signature), bytesOf(text));
}

export function parseProof(text: string): Proof {
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, cut).split("\n");
  if (cut < 0 || lines.shift() !== "c2sp.org/tlog-proof@v1") throw new NotVerified("this is no tlog-proof");
  const extra = lines.shift();
  const index = lines.shift();
  if (!extra?.startsWith("extra ") || !index?.startsWith("index "))
    throw new NotVerified("the proof lacks its leaf or index");
  const path = lines.map(base64);
  if (path.length > 63 || path.some((one) => one.length !== HASH))
    throw new NotVerified("the audit path is malformed");
  return { index: size(index.slice(6)), path, leaf: base64(extra.slice(6)), note: text.slice(cut + 2) };
}

/** The root that a leaf's hash and its audit path lead to (RFC 9162, 2.1.3.2). */
export async function rootOf(
  hash: Uint8Array,
  index: number,
  count: number,
  path: Uint8Array[],
): Promise<Uint8Array> {
  if (index >= count) throw new NotVerified("the leaf is beyond the checkpoint");
  let node = index;
  let last = count - 1;
  let root = hash;
  for (const sibling of path) {
    if (last === 0) throw new NotVerified("the audit path is too long");
    if (node % 2 === 1 || node === last) {
      root = await nodeHash(sibling, root);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      root = await nodeHash(root, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) throw new NotVerified("the audit path is too short");
  return root;
}

/** Check that the newer tree has the older one's leaves first, unchanged (RFC 9162, 2.1.4.2); neither is empty. */
export async function verifyConsistency(older: Checkpoint, newer: Checkpoint, proof: Uint8Array[]) {
  const differs = "the log is not the one that this browser has seen before";
  if (proof.length > 64 || proof.some((one) => one.length !== HASH))
    throw new NotVerified("the consistency proof is malformed");
  if (older.size === newer.size) {
    if (!equal(older.root, newer.root)) throw new NotVerified(differs);
    return;
  }
  let node = older.size - 1;
  let last = newer.size - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  // A complete old tree is itself the first node of the path, and left out of the proof.
  const [first, ...rest] = node === 0 ? [older.root, ...proof] : proof;
  if (!first) throw new NotVerified("the consistency proof is too short");
  let old = first;
  let grown = first;
  for (const sibling of rest) {
    if (last === 0) throw new NotVerified("the consistency proof is too long");
    if (node % 2 === 1 || node === last) {
      old = await nodeHash(sibling, old);
      grown = await nodeHash(sibling, grown);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      grown = await nodeHash(grown, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) throw new NotVerified("the consistency proof is too short");
  if (!equal(old, older.root) || !equal(grown, newer.root)) throw new NotVerified(differs);
}

export interface Verified {
  checkpoint: Checkpoint;
  proof: Proof;
  hash: Uint8Array;
  leaf: Record<string, unknown>;
}

/** Check a proof whole: the signature, and that the leaf leads to the signed root. */
export async function verifyProof(text: string, keys: Key[]): Promise<Verified> {
  const proof = parseProof(text);
  const checkpoint = await openNote(proof.note, keys);
  const hash = await leafHash(proof.leaf);
  const root = await rootOf(hash, proof.index, checkpoint.size, proof.path);
  if (!equal(root, checkpoint.root)) throw new NotVerified("the leaf does not lead to the signed root");
  return {
    checkpoint,
    proof,
    hash,
    leaf: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(proof.leaf)),
  };
}
