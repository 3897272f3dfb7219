/** The verdict before the call: `POST /api/v1/pacts/{pactId}/validate-call`. */
import { PactViolation, PreflightUnavailable } from './errors.js';
import { monotonicMillis } from './ids.js';
import { DeliveryFailed, jsonBody, NotNow, readForeseen, Unreachable, Unreadable, } from './transport.js';
/** Asks before a call, and refuses what the pact forbids at `blockOn` or graver. */
export class Preflight {
    config;
    transport;
    reports;
    earlier;
    #lookingBack = new Set();
    constructor(config, transport, reports, earlier) {
        this.config = config;
        this.transport = transport;
        this.reports = reports;
        this.earlier = earlier;
    }
    /**
     * Resolves if the call may go ahead; with a `reservationId`, what it takes of budgets is then held under this id.
     *
     * @throws PactViolation it breaks the pact at the severity of `blockOn` or graver.
     * @throws PreflightUnavailable nobody can say, and `preflightUnavailable` is `block`.
     */
    async check(question) {
        const { blockOn, preflightUnavailable } = this.config;
        if (blockOn === null)
            return;
        let foreseen;
        try {
            foreseen = await this.#ask(question, blockOn);
        }
        catch (failure) {
            if (!(failure instanceof DeliveryFailed || failure instanceof Unreadable))
                throw failure;
            const reason = `no verdict before calling ${question.tool}: ${failure.message}`;
            if (preflightUnavailable === 'block')
                throw new PreflightUnavailable(reason);
            this.reports.report('preflight', reason);
            return;
        }
        if (foreseen.verdict.atLeast(blockOn))
            throw new PactViolation(foreseen.verdict);
    }
    /** Have a reservation cancelled, in the background. If that fails, it lapses by itself. */
    giveBack(agentId, reservationId) {
        const path = `/api/v1/agents/${agentId}/reservations/${reservationId}`;
        this.transport.request('DELETE', path, null, this.config.preflightTimeoutSeconds).catch(() => undefined);
    }
    async #ask(question, blockOn) {
        const { pactId, pactFault, agentId, sessionId, tool, params, reservationId } = question;
        if (pactId === null)
            throw new Unreadable(pactFault ?? 'no pact');
        // Judging a stand-in could allow what the real value forbids.
        if (!params.exact)
            throw new Unreadable('the arguments have no exact JSON form (too large, or not plain data)');
        const reserving = reservationId === null ? {} : { reserve: true, reservationId, blockOn };
        const members = JSON.stringify({ agentId, sessionId, tool, ...reserving });
        const body = await jsonBody(`${members.slice(0, -1)},"params":${params.encoded}}`);
        const foreseen = await this.#withEarlier(pactId, body);
        if (reservationId !== null && !foreseen.held && !foreseen.verdict.atLeast(this.config.blockOn ?? 'info')) {
            throw new Unreadable('the gateway allows the call, and holds nothing for it');
        }
        return foreseen;
    }
    /** The verdict, with what this process has recorded before taken into account. */
    async #withEarlier(pactId, body) {
        const deadline = monotonicMillis() + this.config.preflightTimeoutSeconds * 1_000;
        let unsettled = this.earlier.hasUnsettled();
        if (unsettled && this.#lookingBack.has(pactId)) {
            await this.#settle(deadline);
            unsettled = false;
        }
        const foreseen = await this.#answer(pactId, body, deadline);
        if (!foreseen.lookedBack)
            return foreseen;
        this.#lookingBack.add(pactId);
        if (!unsettled)
            return foreseen;
        // It was not known that earlier calls matter. To ask again holds nothing more.
        await this.#settle(deadline);
        return this.#answer(pactId, body, deadline);
    }
    async #settle(deadline) {
        if (!(await this.earlier.settle(Math.max(deadline - monotonicMillis(), 0) / 1_000))) {
            throw new NotNow('what was recorded before is not delivered yet');
        }
    }
    async #answer(pactId, body, deadline) {
        // To ask twice changes nothing, so a connection that the server closed meanwhile is worth a second try.
        for (let attempt = 1;; attempt += 1) {
            const left = (deadline - monotonicMillis()) / 1_000;
            if (left <= 0)
                throw new NotNow('no answer in time');
            try {
                return readForeseen(await this.transport.request('POST', `/api/v1/pacts/${pactId}/validate-call`, body, left));
            }
            catch (failure) {
                if (!(failure instanceof Unreachable) || attempt === 2)
                    throw failure;
            }
        }
    }
}
