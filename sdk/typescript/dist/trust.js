/** Fetches an agent's report and returns its claims only if everything that can be checked holds. */
import { equal, fromHex } from './bytes.js';
import { openCosigned, TooFewCosignatures, witnessPolicy } from './cosignature.js';
import { LedgerForked, LedgerUnproven, OracleUnavailable, ProofError, ReportMalformed, ReportStale, UnknownAgent, } from './errors.js';
import { TileReader, verifyInclusion } from './merkle.js';
import { openCheckpoint, parseLogKeys, readCheckpoint } from './note.js';
import { momentMicros, verifyReport } from './report.js';
export { openCosigned, TooFewCosignatures, witnessPolicy, } from './cosignature.js';
export { LedgerForked, LedgerUnproven, OracleUnavailable, PactstreamError, ProofError, ReportError, ReportExpired, ReportIssuerError, ReportMalformed, ReportSignatureError, ReportStale, UnknownAgent, } from './errors.js';
export { TileReader, verifyInclusion } from './merkle.js';
export { openCheckpoint, parseLogKeys } from './note.js';
export { verifyJwt, verifyReport } from './report.js';
const MAX_REPORT_BYTES = 262_144;
const MAX_FILE_BYTES = 1_000_000;
const MAX_HEADS = 10_000;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;
/** Reports of one issuer; it remembers what it saw of the ledger, so make one and share it. */
export class TrustClient {
    #options;
    #url;
    #fetch;
    #memory;
    #policy;
    #turn = Promise.resolve();
    constructor(options) {
        if (options.checkLedger === false && (options.quorum ?? options.witnesses?.length ?? 0) > 0) {
            throw new TypeError('cosignatures are of the ledger, which is not to be checked');
        }
        this.#options = options;
        this.#url = (options.url ?? `https://${options.issuer}`).replace(/\/+$/, '');
        this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
        this.#memory = options.memory ?? new Map();
    }
    /**
     * The claims of the agent's report, all checks passed.
     *
     * @throws OracleUnavailable the oracle does not answer; try again.
     * @throws UnknownAgent it knows nothing of the agent.
     * @throws ReportError the report is not the issuer's, not in force, too old, or not of the ledger that it names.
     * @throws ProofError a witness's key is none, or so many cosignatures cannot be asked for.
     * @throws TypeError the agent's id is not a UUID.
     */
    async get(agentId) {
        const wanted = agentId.toLowerCase();
        if (!UUID.test(wanted))
            throw new TypeError('agentId must be a UUID');
        const policy = await (this.#policy ??= witnessPolicy(this.#options.witnesses ?? [], this.#options.quorum));
        const raw = await this.#get(`api/v1/trust/${wanted}`, MAX_REPORT_BYTES);
        if (raw === null)
            throw new UnknownAgent(`the oracle knows nothing of the agent ${wanted}`);
        const now = new Date();
        const claims = await verifyReport(text(raw), this.#options.jwks, { issuer: this.#options.issuer, now });
        if (claims['agentId'] !== wanted)
            throw new ReportMalformed(`the report is of another agent than ${wanted}`);
        this.#checkFreshness(claims, now);
        const { head, checkpoint, proof } = ledgerOf(claims);
        if (head === null && policy.quorum > 0 && (claims['observation'] ?? null) !== null) {
            throw new LedgerUnproven('the report names no checkpoint that a witness could have cosigned');
        }
        if (this.#options.checkLedger !== false && head !== null && checkpoint !== null) {
            // One after another, since each is compared with what was seen before.
            const turn = this.#turn.then(() => this.#checkLedger(wanted, head, checkpoint, proof, policy));
            this.#turn = turn.catch(() => undefined);
            await turn;
        }
        return claims;
    }
    #checkFreshness(claims, now) {
        const age = now.getTime() / 1_000 - (momentMicros(claims['issuedAt']) ?? 0) / 1_000_000;
        const { maxAgeSeconds = 300, maxLagSeconds = 60 } = this.#options;
        if (!(age <= maxAgeSeconds)) {
            throw new ReportStale(`the report is ${age.toFixed(0)} s old; accepted are ${maxAgeSeconds} s`);
        }
        const freshness = claims['freshness'];
        if (!isObject(freshness))
            throw new ReportMalformed("the report has no 'freshness'");
        const lag = freshness['scoreLagSeconds'] ?? null;
        if (lag !== null && typeof lag !== 'number')
            throw new ReportMalformed("the score's lag is no number");
        if (lag !== null && lag > maxLagSeconds) {
            throw new ReportStale(`the score is ${lag} s behind the ledger; accepted are ${maxLagSeconds} s`);
        }
    }
    async #checkLedger(agentId, head, note, proof, policy) {
        const pin = await this.#memory.get(head.log);
        const keys = await this.#keysOf(head.log, pin);
        let grown;
        try {
            const checkpoint = await openCheckpoint(note, head.log, keys);
            const seen = pin === undefined ? null : readCheckpoint(pin.note);
            const files = this.#filesOf(head.log);
            await compare(seen, checkpoint, files);
            await checkCosigned(note, checkpoint, keys, policy, files);
            const path = proof?.map(fromHex) ?? (await (await open(files, checkpoint)).inclusionProof(head.leafIndex));
            await verifyInclusion(fromHex(head.leafHash), head.leafIndex, checkpoint.size, path, checkpoint.root);
            grown = seen === null || checkpoint.size > seen.size;
        }
        catch (error) {
            if (!(error instanceof ProofError))
                throw error;
            throw new LedgerUnproven(`the report's ledger is not proven: ${error.message}`, { cause: error });
        }
        const known = pin?.heads[agentId];
        if (known !== undefined && known[0] === head.sequence && known[1] !== head.leafHash) {
            throw new LedgerForked(`the agent's leaf ${head.sequence} is not the one seen before`);
        }
        const { [agentId]: _, ...others } = pin?.heads ?? {};
        const newest = known !== undefined && known[0] > head.sequence ? known : [head.sequence, head.leafHash];
        const heads = [...Object.entries(others).slice(1 - MAX_HEADS), [agentId, newest]];
        const kept = pin === undefined || grown ? note : pin.note;
        await this.#memory.set(head.log, {
            keys: keys.map((key) => key.line),
            note: kept,
            heads: Object.fromEntries(heads),
        });
    }
    async #keysOf(origin, pin) {
        const given = this.#options.logKeys ?? pin?.keys.join('\n') ?? (await this.#publishedKeys());
        try {
            const keys = (await parseLogKeys(given)).get(origin);
            if (keys !== undefined)
                return keys;
        }
        catch (error) {
            if (!(error instanceof ProofError))
                throw error;
            throw new LedgerUnproven(`the log keys cannot be read: ${error.message}`, { cause: error });
        }
        throw new LedgerUnproven(`no key of the log '${origin}' is known`);
    }
    async #publishedKeys() {
        const published = await this.#get('ledger/keys', MAX_FILE_BYTES);
        if (published !== null)
            return text(published);
        throw new LedgerUnproven('the oracle publishes no log keys, and none were given');
    }
    #filesOf(origin) {
        const number = origin.slice(origin.lastIndexOf('/') + 1);
        if (!/^[0-9]+$/.test(number))
            throw new ProofError('a log ends in its number');
        return async (path) => {
            const data = await this.#get(`ledger/${number}/${path}`, MAX_FILE_BYTES);
            if (data === null)
                throw new ProofError(`${path} is missing`);
            return data;
        };
    }
    /** A file of the oracle's; null: 404. */
    async #get(path, maxBytes) {
        const url = `${this.#url}/${path}`;
        let status;
        let data;
        try {
            const response = await this.#fetch(url, {
                headers: { Accept: 'application/json' },
                signal: AbortSignal.timeout((this.#options.timeoutSeconds ?? 5) * 1_000),
                redirect: 'manual',
                credentials: 'omit',
            });
            status = response.status;
            data = await bounded(response, maxBytes);
        }
        catch (error) {
            throw new OracleUnavailable(`${url} does not answer: ${error.name}`, { cause: error });
        }
        if (status === 404)
            return null;
        if (status !== 200)
            throw new OracleUnavailable(`${url} answers ${status}`);
        if (data === null)
            throw new OracleUnavailable(`${url}: the answer is longer than ${maxBytes} bytes`);
        return data;
    }
}
/** An answer's content; null: it is longer than `maxBytes`. */
export async function bounded(response, maxBytes) {
    const reader = response.body?.getReader();
    const chunks = [];
    let length = 0;
    for (let step = await reader?.read(); step !== undefined && !step.done; step = await reader?.read()) {
        length += step.value.length;
        if (length > maxBytes) {
            await reader?.cancel();
            return null;
        }
        chunks.push(step.value);
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
        whole.set(chunk, at);
        at += chunk.length;
    }
    return whole;
}
/** Whether the two are one log: the smaller tree is the beginning of the larger one. */
async function compare(seen, now, files) {
    if (seen === null)
        return;
    // A smaller checkpoint than before is no fault: another process of the oracle may be a moment behind.
    const [older, newer] = seen.size <= now.size ? [seen, now] : [now, seen];
    const root = older.size === newer.size ? newer.root : await (await open(files, newer)).rootAt(older.size);
    if (!equal(root, older.root)) {
        throw new LedgerForked(`log '${now.origin}': the tree of ${now.size} leaves is not the one seen with ${seen.size} leaves`);
    }
}
/**
 * Whether enough witnesses cosigned this tree, or what is published now, if that extends it.
 *
 * A report keeps the note under which its head was proved first; a cosignature that came later, and that of a mirror,
 * stands under the published one only.
 */
async function checkCosigned(note, checkpoint, keys, policy, files) {
    try {
        await openCosigned(note, checkpoint.origin, keys, policy);
    }
    catch (error) {
        if (!(error instanceof TooFewCosignatures))
            throw error;
        const published = await openCosigned(text(await files('checkpoint')), checkpoint.origin, keys, policy);
        if (published.checkpoint.size < checkpoint.size) {
            throw new ProofError(`${error.message}, and published are ${published.checkpoint.size} so far`);
        }
        await compare(published.checkpoint, checkpoint, files);
    }
}
function open(files, checkpoint) {
    return TileReader.open(files, checkpoint.size, checkpoint.root);
}
function ledgerOf(claims) {
    const ledger = claims['ledger'];
    if (!isObject(ledger))
        throw new ReportMalformed("the report has no 'ledger'");
    const { head = null, checkpoint = null, inclusionProof: proof = null } = ledger;
    if ((head === null) !== (checkpoint === null)) {
        throw new ReportMalformed('a report names a head and its checkpoint, or neither');
    }
    const wellFormed = (checkpoint === null || typeof checkpoint === 'string') &&
        (proof === null || (Array.isArray(proof) && proof.every((one) => typeof one === 'string'))) &&
        (head === null || isHead(head));
    if (!wellFormed)
        throw new ReportMalformed('what the report says of the ledger is malformed');
    return { head: head, checkpoint: checkpoint, proof: proof };
}
function isHead(value) {
    if (!isObject(value))
        return false;
    const { log, leafIndex, sequence, leafHash } = value;
    const named = typeof log === 'string' && typeof leafHash === 'string';
    return named && Number.isSafeInteger(leafIndex) && Number.isSafeInteger(sequence);
}
function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}
function text(data) {
    try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    }
    catch {
        throw new ReportMalformed('the answer is not UTF-8');
    }
}
