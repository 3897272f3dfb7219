/** `instrumentTool`: every call of a function becomes a `tool_call` event. */
import { surroundings, within } from './ambient.js';
import { PactViolation, PreflightUnavailable } from './errors.js';
import { checkedName, prepare } from './events.js';
import { checkedUuid, monotonicMillis, uuid7 } from './ids.js';
import { isPlain, snapshot, text } from './plain.js';
import { quietly } from './reports.js';
const MAX_REASON = 1_000;
/**
 * `tool` wrapped so that each call is recorded; its result or error passes unchanged.
 *
 * `home` is the scope of its calls; null: that of the session around each.
 *
 * @throws TypeError it is no function, a generator function, or an option is of no use.
 */
export function instrument(recorder, home, tool, options) {
    if (typeof tool !== 'function')
        throw new TypeError('a tool must be a function');
    if (/Generator/.test(Object.prototype.toString.call(tool))) {
        throw new TypeError('the work of a generator is spread over many steps: no one outcome belongs to its call');
    }
    checkExclude(options);
    const name = checkedName('name', options.name ?? tool.name);
    const pactId = options.pactId === undefined ? null : checkedUuid('pactId', options.pactId);
    async function instrumented(...args) {
        const around = surroundings(recorder);
        const scope = home ?? around?.scope ?? recorder.unsessioned;
        const call = new Call(recorder, name, options, scope, pactId ?? scope.pactId, around?.callId ?? null, args);
        await call.mayGoAhead();
        try {
            const inside = { owner: recorder, scope, callId: call.eventId };
            const result = await within(inside, () => tool.apply(this, args));
            call.end('success', null);
            return result;
        }
        catch (error) {
            call.end('error', error);
            throw error;
        }
    }
    Object.defineProperty(instrumented, 'name', { value: tool.name, configurable: true });
    return instrumented;
}
/** An error's name and text, bounded: `TypeError: no such account`. */
export function describe(error) {
    try {
        if (!(error instanceof Error))
            return text(String(error), MAX_REASON);
        return text(error.message === '' ? error.name : `${error.name}: ${error.message}`, MAX_REASON);
    }
    catch {
        return typeof error; // the agent's own object, whose text cannot be had
    }
}
/** One call, from its arguments to the record of its outcome. */
class Call {
    recorder;
    name;
    options;
    scope;
    pactId;
    parentEventId;
    eventId = uuid7();
    #params;
    #reservationId;
    #attemptedAt = new Date();
    #startedAt = null;
    constructor(recorder, name, options, scope, pactId, parentEventId, args) {
        this.recorder = recorder;
        this.name = name;
        this.options = options;
        this.scope = scope;
        this.pactId = pactId;
        this.parentEventId = parentEventId;
        const { blockOn, reserve } = recorder.config;
        // As they were before the call, which may change them.
        this.#params = argumentsOf(args, options);
        this.#reservationId = blockOn !== null && reserve && this.#isJudged() ? uuid7() : null;
    }
    /** @throws PactViolation or PreflightUnavailable, recorded as `denied`. */
    async mayGoAhead() {
        if (this.recorder.config.blockOn !== null && this.#isJudged()) {
            const { pactFault, agentId, sessionId } = this.scope;
            const question = { pactId: this.pactId, pactFault, agentId, sessionId };
            try {
                const held = { tool: this.name, params: this.#params, reservationId: this.#reservationId };
                await this.recorder.preflight.check({ ...question, ...held });
            }
            catch (denial) {
                if (this.#reservationId !== null)
                    this.recorder.preflight.giveBack(agentId, this.#reservationId);
                if (denial instanceof PactViolation || denial instanceof PreflightUnavailable)
                    this.end('denied', denial);
                throw denial;
            }
            // What is held is held for a call from now on.
            this.#attemptedAt = new Date();
        }
        this.#startedAt = monotonicMillis();
    }
    end(outcome, error) {
        const latency = this.#startedAt === null ? undefined : Number((monotonicMillis() - this.#startedAt).toFixed(3));
        const receipt = this.recorder.record(() => {
            const { metadata } = this.options;
            const context = {
                ...(this.parentEventId === null ? {} : { parentEventId: this.parentEventId }),
                ...(metadata === undefined ? {} : { metadata }),
            };
            const fields = {
                tool: this.name,
                outcome,
                attemptedAt: this.#attemptedAt,
                latencyMs: latency,
                errorMessage: outcome === 'success' ? undefined : describe(error),
                reservationId: this.#reservationId ?? undefined,
            };
            const scope = { ...this.scope, pactId: this.pactId };
            return prepare('tool_call', scope, context, fields, this.#params, this.eventId);
        });
        const { onReceipt } = this.options;
        if (onReceipt === undefined)
            return;
        quietly(() => onReceipt(receipt), (fault) => this.recorder.reports.report('callback', `onReceipt threw ${fault?.name}`));
    }
    #isJudged() {
        return this.pactId !== null || this.scope.pactFault !== null;
    }
}
function argumentsOf(args, options) {
    try {
        const { exclude = [] } = options;
        return snapshot(byName(args, options).filter(([name]) => !exclude.includes(name)));
    }
    catch {
        return { encoded: '{}', exact: false }; // a getter of the agent's own that throws
    }
}
/** Arguments by name: by `parameters`, or the members of a single object, or else a list under `args`. */
function byName(args, { parameters }) {
    const [only] = args;
    if (parameters === undefined) {
        if (args.length === 1 && isPlain(only))
            return Object.entries(only);
        return args.length === 0 ? [] : [['args', args]];
    }
    const more = args.slice(parameters.length);
    const named = parameters.map((name, at) => [name, args[at]]);
    return more.length === 0 ? named : [...named, ['args', more]];
}
function checkExclude({ parameters, exclude = [] }) {
    if (!Array.isArray(exclude))
        throw new TypeError('exclude must be several names');
    const unknown = parameters === undefined ? [] : exclude.filter((name) => !parameters.includes(name));
    // A mistyped name would send the very secret that it was to keep back.
    if (unknown.length > 0)
        throw new TypeError(`exclude names no parameter: ${unknown.join(', ')}`);
}
