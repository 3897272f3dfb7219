import { useEffect, useState } from "preact/hooks";
import { Failure, getText } from "../api";
import { number } from "../format";
import { useLoaded, useTitle } from "../hooks";
import { Card, Empty, EventLink, Facts, Field, Loading, Problem, Table } from "../parts";
import { setQuery } from "../router";
import { follow, forget } from "../seen";
import type { Ledger } from "../types";
import {
  type Checkpoint,
  hex,
  NotVerified,
  openNote,
  parseKeys,
  type Verified,
  verifyProof,
} from "../verify";

type Grown = { checkpoint: Checkpoint; before?: number; wrong?: string };
type Result = Grown | { wrong: string };

export function LedgerView({ query }: { query: URLSearchParams }) {
  useTitle("Ledger");
  const { data, failure, reload } = useLoaded<Ledger>("ledger");
  const event = query.get("event") ?? "";
  return (
    <>
      <div class="heading">
        <h1>Ledger</h1>
        <button type="button" onClick={reload}>
          Refresh
        </button>
      </div>
      <p class="muted">
        Everything on this page is checked by your browser, with SHA-256 and Ed25519 of its own WebCrypto. The
        server's word is not taken for it. Compare the keys with those that the operator told you.
      </p>
      <Problem failure={failure} />
      {!data && !failure && <Loading />}
      {data && (
        <>
          <ProofCard key={event} event={event} keys={data.keys} />
          <Card title="Checkpoints">
            {data.checkpoints.length ? <Checkpoints of={data} /> : <Empty>Nothing is published yet.</Empty>}
          </Card>
          <Card title="Verifier keys">
            <pre class="vkeys">{data.keys || "none"}</pre>
          </Card>
        </>
      )}
    </>
  );
}

function Checkpoints({ of }: { of: Ledger }) {
  const [results, setResults] = useState<Record<number, Result>>({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    (async () => {
      const found: Record<number, Result> = {};
      for (const one of of.checkpoints) {
        try {
          found[one.log] = await followed(await openNote(one.note, await parseKeys(of.keys)));
        } catch (error) {
          found[one.log] = { wrong: message(error) };
        }
      }
      if (current) setResults(found);
    })();
    return () => {
      current = false;
    };
  }, [of, turn]);
  const changed = Object.values(results).flatMap((one) =>
    "checkpoint" in one && one.wrong ? [one.checkpoint.origin] : [],
  );
  const startOver = () => {
    forget(changed);
    setTurn(turn + 1);
  };
  return (
    <>
      {changed.length > 0 && (
        <p class="problem">
          <strong>A log has changed:</strong> what this browser verified before is no longer part of it.
          Somebody rewrote it, or the deployment was made anew under its old name. Ask the operator before you
          forget it.{" "}
          <button type="button" onClick={startOver}>
            Forget what was seen
          </button>
        </p>
      )}
      <Table label="Checkpoints">
        <thead>
          <tr>
            <th>Log</th>
            <th class="right">Leaves</th>
            <th>Root</th>
            <th>Signature</th>
            <th>Since it was last seen here</th>
          </tr>
        </thead>
        <tbody>
          {of.checkpoints.map((one) => {
            const result = results[one.log];
            const good = result && "checkpoint" in result ? result.checkpoint : undefined;
            return (
              <tr key={one.log}>
                <td>{good?.origin ?? one.log}</td>
                <td class="right num">{good ? number(good.size) : "–"}</td>
                <td>
                  <code>{good ? hex(good.root).slice(0, 24) : "–"}</code>
                </td>
                <td>
                  {!result && "…"}
                  {good && <span class="chip good">holds</span>}
                  {result && !good && <span class="bad">{result.wrong}</span>}
                </td>
                <td>{good && <Growth of={result as Grown} />}</td>
              </tr>
            );
          })}
        </tbody>
      </Table>
    </>
  );
}

function Growth({ of }: { of: Grown }) {
  if (of.wrong) return <span class="bad">{of.wrong}</span>;
  if (!of.before) return <>first seen</>;
  const more = of.checkpoint.size - of.before;
  return (
    <>
      <span class="chip good">extends it</span> <span class="num">{more > 0 && `+${number(more)}`}</span>
    </>
  );
}

async function followed(checkpoint: Checkpoint): Promise<Grown> {
  try {
    return { checkpoint, before: await follow(checkpoint) };
  } catch (error) {
    return { checkpoint, wrong: message(error) };
  }
}

function ProofCard({ event, keys }: { event: string; keys: string }) {
  const [typed, setTyped] = useState(event);
  const [verified, setVerified] = useState<Verified>();
  const [wrong, setWrong] = useState("");
  const [failure, setFailure] = useState<Failure>();
  useEffect(() => {
    if (!event) return;
    let current = true;
    (async () => {
      try {
        const text = await getText(`ledger/proofs/${encodeURIComponent(event)}`);
        const result = await verifyProof(text, await parseKeys(keys));
        if (result.leaf.eventId !== event) throw new NotVerified("the proof is of another event");
        await follow(result.checkpoint);
        if (current) setVerified(result);
      } catch (error) {
        if (!current) return;
        if (error instanceof Failure) setFailure(error);
        else setWrong(message(error));
      }
    })();
    return () => {
      current = false;
    };
  }, [event, keys]);
  const submit = (submitted: SubmitEvent) => {
    submitted.preventDefault();
    setQuery({ event: typed.trim().toLowerCase() });
  };
  return (
    <Card title="Verify an event" class={wrong ? "broken" : ""}>
      <form class="inline" onSubmit={submit}>
        <Field label="Event id">
          {(id) => (
            <input
              id={id}
              class="mono"
              required
              pattern="[0-9a-fA-F\-]{36}"
              placeholder="019f0000-0000-7000-8000-000000000000"
              value={typed}
              onInput={(input) => setTyped(input.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="primary">
          Verify
        </button>
      </form>
      <Problem failure={failure} />
      <div aria-live="polite">
        {wrong && (
          <p class="problem">
            <strong>Not verified:</strong> {wrong}.
          </p>
        )}
        {verified && (
          <>
            <p class="said">
              <strong>Verified.</strong> The event stands in the log that this checkpoint signs, and the log
              extends what this browser has seen of it.
            </p>
            <ol class="proof">
              <li>
                The checkpoint of <code>{verified.checkpoint.origin}</code> over{" "}
                <b class="num">{number(verified.checkpoint.size)}</b> leaves is signed by its key.
              </li>
              <li>
                The leaf's hash is <code>{hex(verified.hash).slice(0, 24)}…</code>
              </li>
              <li>
                With {verified.proof.path.length} hashes from leaf{" "}
                <b class="num">{number(verified.proof.index)}</b> it leads to the signed root{" "}
                <code>{hex(verified.checkpoint.root).slice(0, 24)}…</code>
              </li>
            </ol>
            <Facts
              of={[
                ["Event", <EventLink key="event" id={String(verified.leaf.eventId)} />],
                ["Kind", String(verified.leaf.type)],
                [
                  "Number",
                  <span key="n" class="num">
                    {String(verified.leaf.sequence)}
                  </span>,
                ],
                ["Arrived", String(verified.leaf.receivedAt)],
              ]}
            />
            <details>
              <summary>The proven leaf</summary>
              <pre>{JSON.stringify(verified.leaf, null, 2)}</pre>
            </details>
          </>
        )}
      </div>
    </Card>
  );
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
