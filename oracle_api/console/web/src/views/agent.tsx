import { useState } from "preact/hooks";
import { send } from "../api";
import { dateTime, number, words } from "../format";
import { useAction, useLoaded, useTitle } from "../hooks";
import { Card, Dialog, Field, Loading, Problem, State, Table } from "../parts";
import { Link, path, setQuery } from "../router";
import type { AgentDetail, Anomaly, Visitor } from "../types";
import { Compliance, Health, OracleHealth, WIDTHS } from "./figures";
import { PageList } from "./pages";
import { Falls, Nights, ScoreCard } from "./score";

const SPANS: [string, string][] = [
  ["1h", "1 hour"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
];

export function AgentView({ id, query, visitor }: { id: string; query: URLSearchParams; visitor: Visitor }) {
  const span = WIDTHS[query.get("span") ?? ""] ? (query.get("span") as string) : "24h";
  const { data, failure, reload } = useLoaded<AgentDetail>(
    `agents/${encodeURIComponent(id)}`,
    { span },
    10_000,
  );
  const [resuming, setResuming] = useState(false);
  useTitle(data?.name ?? "Agent");
  if (failure && !data) return <Problem failure={failure} />;
  if (!data) return <Loading />;
  return (
    <>
      <div class="heading">
        <h1>{data.name}</h1>
        <State of={data.status} />
        {data.status === "paused" && visitor.scopes.includes("pages:act") && (
          <button type="button" class="primary" onClick={() => setResuming(true)}>
            Resume
          </button>
        )}
        <Link to={`${path()}?agent=${id}`} class="button">
          Its live events
        </Link>
        <fieldset class="segmented">
          <legend class="sr">How far back</legend>
          {SPANS.map(([value, name]) => (
            <label key={value}>
              <input
                type="radio"
                name="span"
                checked={span === value}
                onChange={() => setQuery({ span: value })}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <p class="muted mono">{id}</p>
      {resuming && <Resume id={id} onDone={reload} onClose={() => setResuming(false)} />}
      {data.pages.length > 0 && (
        <Card title="Open pages" class="broken">
          <PageList pages={data.pages} />
        </Card>
      )}
      <Drift of={data.anomalies} />
      <div class="columns">
        <ScoreCard score={data.score} />
        <Card title="Score by night" aside="90 days">
          <Nights of={data.nights} />
          <Falls of={data.falls} />
        </Card>
      </div>
      <Health data={data} span={span} />
      <Compliance data={data} span={span} id={id} />
      <OracleHealth data={data} span={span} />
    </>
  );
}

function Drift({ of }: { of: Anomaly[] }) {
  const open = of.filter((one) => one.status === "open");
  if (open.length === 0) return null;
  return (
    <Card title="Drift" class="warned">
      {open.map((one) => (
        <div key={one.anomalyId} class="anomaly">
          <p>
            <span class="chip major">{one.kind === "agent_changed" ? "agent changed" : "drift"}</span> since{" "}
            {dateTime(one.since)}
            {Object.entries(one.attribution).map(([name, value]) => (
              <span key={name}>
                , {words(name)} <code>{value}</code>
              </span>
            ))}
          </p>
          <Table label="What moved">
            <thead>
              <tr>
                <th>Of your tenant</th>
                <th class="right">Now</th>
                <th class="right">Usually</th>
                <th class="right">Effect</th>
              </tr>
            </thead>
            <tbody>
              {one.features.map((feature) => (
                <tr key={feature.feature}>
                  <td>
                    {words(feature.feature)}{" "}
                    {feature.direction === "up"
                      ? "↑"
                      : feature.direction === "down"
                        ? "↓"
                        : feature.direction}
                  </td>
                  <td class="right num">{number(feature.observed, 2)}</td>
                  <td class="right num">{number(feature.usual, 2)}</td>
                  <td class="right num">{number(feature.effect, 1)} σ</td>
                </tr>
              ))}
            </tbody>
          </Table>
        </div>
      ))}
    </Card>
  );
}

function Resume({ id, onDone, onClose }: { id: string; onDone: () => void; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const { busy, failure, run } = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      await send("POST", `agents/${id}/resume`, { reason });
      onClose();
      onDone();
    });
  };
  return (
    <Dialog title="Resume the agent" onClose={onClose}>
      <form onSubmit={submit}>
        <p>Pre-flights answer by the pact again, and its events are taken.</p>
        <Field label="Reason">
          {(field) => (
            <textarea
              id={field}
              rows={3}
              required
              maxLength={2000}
              value={reason}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem failure={failure} />
        <button type="submit" class="primary" disabled={busy}>
          Resume
        </button>
      </form>
    </Dialog>
  );
}
