/** The fate of one recorded event. `error` says why it is `rejected`, `dropped` or `invalid`. */
export class Receipt {
    eventId;
    status = 'pending';
    error = null;
    #verdict = null;
    #waiting = [];
    #hurry;
    /** @internal `eventId` is the UUIDv7 under which the event is sent; empty if `invalid`. */
    constructor(eventId, hurry) {
        this.eventId = eventId;
        this.#hurry = hurry;
    }
    /**
     * The server's verdict, waited for up to `timeoutSeconds`. Buffered events are sent at once instead of at the next
     * flush. Null: no pact was in scope, the event did not arrive, or time is up; `status` tells which. Never rejects.
     */
    async verdict(timeoutSeconds = 5) {
        if (this.status === 'pending') {
            let timer;
            const settled = new Promise((resolve) => {
                this.#waiting.push(resolve);
                timer = setTimeout(resolve, timeoutSeconds * 1_000);
            });
            this.#hurry();
            await settled;
            clearTimeout(timer);
        }
        return this.#verdict;
    }
    /** @internal Fixes the fate of the event and wakes whoever waits for it. */
    settle(status, verdict = null, error = null) {
        this.#verdict = verdict;
        this.error = error;
        this.status = status;
        // A receipt that is kept must not keep a whole Telemetry alive.
        this.#hurry = () => undefined;
        for (const wake of this.#waiting.splice(0))
            wake();
        return this;
    }
}
