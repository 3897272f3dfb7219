/** The largest checkpoint of each log that this browser has verified: what is published later must extend it. */

import { Failure, get } from "./api";
import { base64, type Checkpoint, NotVerified, verifyConsistency } from "./verify";

const PREFIX = "pactstream.seen.";

/** How many leaves were known before, 0 if none. Throws `NotVerified` if the log is not an extension of them. */
export async function follow(checkpoint: Checkpoint): Promise<number> {
  const known = recall(checkpoint.origin);
  if (known) {
    const [older, newer] = known.size <= checkpoint.size ? [known, checkpoint] : [checkpoint, known];
    await verifyConsistency(older, newer, await proofOf(older, newer));
  }
  if (!known || checkpoint.size > known.size) remember(checkpoint);
  return known?.size ?? 0;
}

export function forget(origins: string[]): void {
  for (const origin of origins) localStorage.removeItem(PREFIX + origin);
}

async function proofOf(older: Checkpoint, newer: Checkpoint): Promise<Uint8Array[]> {
  if (older.size === newer.size) return [];
  const log = older.origin.slice(older.origin.lastIndexOf("/") + 1);
  try {
    const found = await get<{ proof: string[] }>(`ledger/${encodeURIComponent(log)}/consistency`, {
      from: older.size,
      to: newer.size,
    });
    return found.proof.map(base64);
  } catch (error) {
    if (error instanceof Failure && error.status === 404)
      throw new NotVerified(`the log is shorter than the ${newer.size} leaves that this browser has seen`);
    throw error;
  }
}

function recall(origin: string): Checkpoint | undefined {
  const [size, root] = (localStorage.getItem(PREFIX + origin) ?? "").split(" ");
  return size && root ? { origin, size: Number(size), root: base64(root) } : undefined;
}

function remember({ origin, size, root }: Checkpoint): void {
  localStorage.setItem(PREFIX + origin, `${size} ${btoa(String.fromCharCode(...root))}`);
}
