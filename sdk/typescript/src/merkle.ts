/**
 * The Merkle tree of RFC 6962 and RFC 9162 (section 2.1), SHA-256, and C2SP's tiles of it.
 *
 * Sizes and indices are whole numbers up to 2^53 - 1, so halves are taken by division, not by 32-bit shifts.
 */
import { type Bytes, concat, equal, sha256 } from './bytes.js'
import { ProofError } from './errors.js'

/** Reads a published file by its path; `OracleUnavailable` where that fails, `ProofError` where there is none. */
export type FetchFile = (path: string) => Promise<Bytes>

const HASH_BYTES = 32
const TILE_HEIGHT = 8
const TILE_WIDTH = 256
const MAX_KEPT_TILES = 64
const INNER = Uint8Array.of(1)

/**
 * Checks that leaf `index` of the tree (`size`, `root`) has this hash (RFC 9162, section 2.1.3.2).
 *
 * @throws ProofError it has not.
 */
export async function verifyInclusion(
  leafHash: Bytes,
  index: number,
  size: number,
  proof: readonly Bytes[],
  root: Bytes,
): Promise<void> {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) {
    throw new ProofError(`no leaf ${index} in a tree of ${size}`)
  }
  if ([leafHash, ...proof, root].some((one) => one.length !== HASH_BYTES)) {
    throw new ProofError('a hash must be 32 bytes long')
  }
  let [fn, sn, node] = [index, size - 1, leafHash]
  for (const sibling of proof) {
    if (sn === 0) throw new ProofError('the inclusion proof is too long')
    if (fn % 2 === 1 || fn === sn) {
      node = await nodeHash(sibling, node)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else {
      node = await nodeHash(node, sibling)
    }
    ;[fn, sn] = [half(fn), half(sn)]
  }
  if (sn !== 0) throw new ProofError('the inclusion proof is too short')
  if (!equal(node, root)) throw new ProofError('the inclusion proof leads to another root')
}

/**
 * The tree (`size`, `root`) of a checkpoint, in tiles that may lie: every hash is checked against the root before it
 * is used. The partial tiles on the right edge hold the roots of all complete subtrees, and so lead to the root; a
 * full tile is checked against its hash in the tile above it.
 */
export class TileReader {
  readonly #kept = new Map<string, readonly Bytes[]>()

  private constructor(
    readonly size: number,
    private readonly fetchFile: FetchFile,
    private readonly edge: readonly (readonly Bytes[])[],
  ) {}

  /** @throws ProofError a tile is missing, malformed, or does not lead to the root. */
  static async open(fetchFile: FetchFile, size: number, root: Bytes): Promise<TileReader> {
    const edge: (readonly Bytes[])[] = []
    for (let level = 0; hashesAt(level, size) > 0; level += 1) {
      const count = hashesAt(level, size)
      const width = count % TILE_WIDTH
      edge.push(width === 0 ? [] : await fetchTile(fetchFile, level, (count - width) / TILE_WIDTH, width))
    }
    const peaks: Bytes[] = []
    for (const hashes of [...edge].reverse()) peaks.push(...(await peaksOf(hashes)))
    if (!equal(await rootOf(peaks), root)) {
      throw new ProofError(`the partial tiles of the tree of ${size} leaves do not lead to its root`)
    }
    return new TileReader(size, fetchFile, edge)
  }

  /** The root of the tree of the first `size` leaves. @throws ProofError beyond the tree. */
  async rootAt(size: number): Promise<Bytes> {
    if (!(size >= 0 && size <= this.size)) throw new ProofError(`the tree has ${this.size} leaves, not ${size}`)
    const peaks: Bytes[] = []
    for (let level = 52; level >= 0; level -= 1) {
      const complete = Math.floor(size / 2 ** level)
      if (complete % 2 === 1) peaks.push(await this.#node(level, complete - 1))
    }
    return rootOf(peaks)
  }

  /** The audit path of a leaf (RFC 9162, section 2.1.3.1). @throws ProofError when there is no such leaf. */
  async inclusionProof(index: number): Promise<Bytes[]> {
    if (!(index >= 0 && index < this.size)) throw new ProofError(`no leaf ${index} in a tree of ${this.size}`)
    const path: Bytes[] = []
    let [first, end] = [0, this.size]
    while (end - first > 1) {
      const middle = first + splitOf(end - first)
      if (index < middle) {
        path.push(await this.#subtree(middle, end))
        end = middle
      } else {
        path.push(await this.#subtree(first, middle))
        first = middle
      }
    }
    return path.reverse()
  }

  async #subtree(first: number, end: number): Promise<Bytes> {
    const count = end - first
    const split = count === 1 ? 1 : splitOf(count)
    if (count === 1 || split * 2 === count) return this.#node(Math.log2(count), first / count)
    return nodeHash(await this.#subtree(first, first + split), await this.#subtree(first + split, end))
  }

  async #node(level: number, index: number): Promise<Bytes> {
    const tileLevel = Math.floor(level / TILE_HEIGHT)
    const width = 2 ** (level % TILE_HEIGHT)
    const first = index * width
    const hashes = await this.#tile(tileLevel, Math.floor(first / TILE_WIDTH))
    return completeRoot(hashes.slice(first % TILE_WIDTH, (first % TILE_WIDTH) + width))
  }

  async #tile(level: number, index: number): Promise<readonly Bytes[]> {
    const edge = this.edge[level]
    if (edge === undefined || index > hashesAt(level + 1, this.size)) throw new ProofError('the tree has no such tile')
    if (index === hashesAt(level + 1, this.size)) return edge
    const kept = this.#kept.get(`${level}/${index}`)
    if (kept !== undefined) return kept
    const hashes = await fetchTile(this.fetchFile, level, index, TILE_WIDTH)
    const above = (await this.#tile(level + 1, Math.floor(index / TILE_WIDTH)))[index % TILE_WIDTH]
    if (above === undefined || !equal(await completeRoot(hashes), above)) {
      throw new ProofError(`${tilePath(level, index, TILE_WIDTH)} does not lead to the root`)
    }
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined && this.#kept.size >= MAX_KEPT_TILES) this.#kept.delete(oldest)
    this.#kept.set(`${level}/${index}`, hashes)
    return hashes
  }
}

/** The root over peaks, the roots of the complete subtrees, largest first. */
async function rootOf(peaks: readonly Bytes[]): Promise<Bytes> {
  let node = peaks.at(-1)
  if (node === undefined) return sha256()
  for (const left of peaks.slice(0, -1).reverse()) node = await nodeHash(left, node)
  return node
}

/** The roots of the complete subtrees over a partial tile, largest first. */
async function peaksOf(hashes: readonly Bytes[]): Promise<Bytes[]> {
  const peaks: Bytes[] = []
  let at = 0
  for (let width = TILE_WIDTH / 2; width >= 1; width /= 2) {
    if (Math.floor(hashes.length / width) % 2 === 0) continue
    peaks.push(await completeRoot(hashes.slice(at, at + width)))
    at += width
  }
  return peaks
}

/** The root of a complete subtree over these hashes, a power of two of them. */
async function completeRoot(hashes: readonly Bytes[]): Promise<Bytes> {
  const [first, second] = hashes
  if (first === undefined) throw new ProofError('a tile is shorter than it should be')
  if (second === undefined) return first
  const middle = hashes.length / 2
  return nodeHash(await completeRoot(hashes.slice(0, middle)), await completeRoot(hashes.slice(middle)))
}

async function fetchTile(fetchFile: FetchFile, level: number, index: number, width: number): Promise<readonly Bytes[]> {
  try {
    return hashesOf(await fetchFile(tilePath(level, index, width)), width)
  } catch (error) {
    // A partial tile may be gone once the full one is there.
    if (!(error instanceof ProofError) || width === TILE_WIDTH) throw error
  }
  return hashesOf(await fetchFile(tilePath(level, index, TILE_WIDTH)), TILE_WIDTH).slice(0, width)
}

function hashesOf(data: Bytes, width: number): readonly Bytes[] {
  if (data.length !== width * HASH_BYTES) {
    throw new ProofError(`a tile of width ${width} has ${width * HASH_BYTES} bytes, not ${data.length}`)
  }
  return Array.from({ length: width }, (_, at) => data.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES))
}

/** Groups of three digits, all but the last behind an x: 1234067 is `x001/x234/067` (c2sp.org/tlog-tiles). */
function tilePath(level: number, index: number, width: number): string {
  const digits = String(index)
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.{3}/g) ?? []
  const numbered = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/')
  return `tile/${level}/${numbered}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

function nodeHash(left: Bytes, right: Bytes): Promise<Bytes> {
  return sha256(concat(INNER, left, right))
}

function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level)
}

/** The largest power of two smaller than `count` (> 1). */
function splitOf(count: number): number {
  let split = 1
  while (split * 2 < count) split *= 2
  return split
}

function half(count: number): number {
  return Math.floor(count / 2)
}
