/** A unit of work that opens, encloses and closes its events. */
import { surroundings, within } from './ambient.js';
import { checkedName, prepare, } from './events.js';
import { checkedUuid, uuid7 } from './ids.js';
import { snapshot, text } from './plain.js';
import { describe, instrument } from './tool.js';
const MAX_REASON = 1_000;
/** What can be recorded: by a session under its own id, by `Telemetry` under that of the session around. */
export class Recording {
    /** @internal */
    constructor(recorder) {
        // Not shown by console.log, nor by whatever else looks at an object's members.
        Object.defineProperty(this, 'recorder', { value: recorder });
    }
    /** Record one tool call. */
    toolCall(event) {
        return this.recorder.record(() => {
            const { tool, params, outcome = 'success', attemptedAt, latencyMs, errorMessage, reservationId, ...context } = event;
            if (params !== undefined && (typeof params !== 'object' || params === null || Array.isArray(params))) {
                throw new TypeError('params must be an object');
            }
            const fields = { tool, outcome, attemptedAt, latencyMs, errorMessage, reservationId };
            return this.prepared('tool_call', context, fields, snapshot(Object.entries(params ?? {})));
        });
    }
    /** Record what the agent said to a counterparty. */
    response(event) {
        return this.recorder.record(() => {
            const { input, output, outcome = 'success', emittedAt, latencyMs, tokenCount, ...context } = event;
            return this.prepared('response', context, { input, output, outcome, emittedAt, latencyMs, tokenCount });
        });
    }
    /**
     * Record every call of a function. The wrapper returns a promise, since it may have to ask before the call.
     *
     * @throws TypeError it is no function, a generator function, or an option is of no use.
     */
    instrumentTool(tool, options = {}) {
        return instrument(this.recorder, this.home(), tool, options);
    }
    /** @internal */
    prepared(type, context, fields, params = null) {
        const around = surroundings(this.recorder);
        const nearest = this.home() ?? around?.scope ?? this.recorder.unsessioned;
        const { sessionId = nearest.sessionId } = context;
        // Another session than the nearest: its pact and room are not known here.
        const scope = sessionId === nearest.sessionId ? nearest : { ...this.recorder.unsessioned, sessionId };
        const parent = around?.callId ?? null;
        return prepare(type, scope, parent === null ? context : { parentEventId: parent, ...context }, fields, params);
    }
}
/** A session. What its methods record belongs to it, and so does what is recorded inside `run`. */
export class Session extends Recording {
    #scope;
    #ended = false;
    /** @internal */
    constructor(recorder, options = {}) {
        super(recorder);
        this.#scope = openScope(recorder, options);
        const { metadata } = options;
        const context = metadata === undefined ? {} : { metadata };
        recorder.record(() => this.prepared('session_start', context, { startedAt: null }));
    }
    /** The session id that its events carry. */
    get id() {
        return this.#scope.sessionId;
    }
    /** The pact that its tool calls are judged against. */
    get pactId() {
        return this.#scope.pactId;
    }
    /**
     * Runs `work` inside the session. In Node, whatever it records, calls of the telemetry's own tools included, belongs
     * to the session; in a browser, what is recorded by this session's methods and tools.
     */
    run(work) {
        const callId = surroundings(this.recorder)?.callId ?? null;
        return within({ owner: this.recorder, scope: this.#scope, callId }, () => work(this));
    }
    /** Records the end, once; a later call does nothing. */
    end(outcome = 'success', reason) {
        if (this.#ended)
            return;
        this.#ended = true;
        const bounded = reason === undefined ? undefined : text(reason, MAX_REASON);
        this.recorder.record(() => this.prepared('session_end', {}, { outcome, reason: bounded, endedAt: null }));
    }
    /** @internal Ends as the error says that left it: nothing that was said before is overridden. */
    fail(error) {
        const name = error instanceof Error || error instanceof DOMException ? error.name : '';
        const outcome = name === 'TimeoutError' ? 'timeout' : name === 'AbortError' ? 'aborted' : 'failure';
        this.end(outcome, describe(error));
    }
    home() {
        return this.#scope;
    }
}
/** The scope of a new session inside the present one; what cannot be used is reported and left out. */
function openScope(recorder, options) {
    const outer = surroundings(recorder)?.scope ?? recorder.unsessioned;
    const usable = (name, check) => {
        const value = options[name] ?? null;
        try {
            return value === null ? null : check(name, value);
        }
        catch (error) {
            recorder.reports.report('invalid', `session: ${error.message}`);
            return null;
        }
    };
    const inherits = (options.pactId ?? null) === null;
    const pactId = usable('pactId', checkedUuid);
    return {
        sessionId: usable('sessionId', checkedName) ?? uuid7(),
        agentId: usable('agentId', checkedUuid) ?? outer.agentId,
        roomId: usable('roomId', checkedName) ?? outer.roomId,
        pactId: inherits ? outer.pactId : pactId,
        pactFault: inherits ? outer.pactFault : pactId === null ? "the session's pactId is not a UUID" : null,
    };
}
