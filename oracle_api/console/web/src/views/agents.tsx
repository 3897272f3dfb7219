import { useState } from "preact/hooks";
import { send } from "../api";
import { Chart, Meter } from "../charts";
import { ago, dateTime, millis, number, ruleText, share } from "../format";
import { useAction, useLoaded, useTitle } from "../hooks";
import {
  Card,
  Dialog,
  Empty,
  EventLink,
  Facts,
  Field,
  Loading,
  Problem,
  Severity,
  Table,
  When,
} from "../parts";
import { Link, path, setQuery } from "../router";
import type { AgentDetail, Anomaly, Fall, ListedAgent, OraclePoint, Point, Score, Visitor } from "../types";
import { PageList } from "./pages";

export function AgentsView() {
  useTitle("Agents");
  const { data, failure } = useLoaded<{ agents: ListedAgent[] }>("agents");
  return (
    <>
      <h1>Agents</h1>
      <Problem failure={failure} />
      {!data && !failure && <Loading />}
      {data?.agents.length === 0 && <Empty>No agent is registered.</Empty>}
      {data && data.agents.length > 0 && (
        <Card title="Registered agents" aside="counts of the last 24 hours">
          <Table label="Agents">
            <thead>
              <tr>
                <th>Agent</th>
                <th>State</th>
                <th class="right">Score</th>
                <th class="right">Sessions</th>
                <th class="right">Calls</th>
                <th class="right">Errors</th>
                <th class="right">Compliance</th>
                <th>Last event</th>
              </tr>
            </thead>
            <tbody>
              {data.agents.map((one) => (
                <tr key={one.agentId}>
                  <td>
                    <Link to={path("agents", one.agentId)}>{one.name}</Link>
                  </td>
                  <td>
                    <State of={one.status} />
                  </td>
                  <td class="right num">{number(one.composite, 1)}</td>
                  <td class="right num">{number(one.sessions)}</td>
                  <td class="right num">{number(one.calls)}</td>
                  <td class="right num">{share(one.errors, one.calls)}</td>
                  <td class={`right num ${band(one.valid, one.bound)}`}>{share(one.valid, one.bound)}</td>
                  <td>{one.lastSeenAt ? ago(one.lastSeenAt) : "–"}</td>
                </tr>
              ))}
            </tbody>
          </Table>
        </Card>
      )}
    </>
  );
}

export function State({ of }: { of: string }) {
  const tone = of === "active" ? "good" : of === "paused" ? "major" : "critical";
  return <span class={`chip ${tone}`}>{of}</span>;
}

/** The bands of the compliance dashboard: 99.5 % and 99 %. */
function band(valid: number, bound: number): string {
  if (!bound || valid / bound >= 0.995) return "";
  return valid / bound >= 0.99 ? "warn" : "bad";
}

const SPANS: [string, string][] = [
  ["1h", "1 hour"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
];
const WIDTHS: Record<string, [number, number]> = {
  "1h": [3_600, 60],
  "24h": [86_400, 900],
  "7d": [604_800, 7_200],
};

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

/** Points without gaps: every interval of the span, zero where nothing happened. */
function moments(data: AgentDetail, span: string): number[] {
  const [seconds, width] = WIDTHS[span] ?? [86_400, 900];
  const last = Math.floor(data.now / width) * width;
  return Array.from({ length: seconds / width }, (_, n) => last - (seconds / width - 1 - n) * width);
}

function spread<T extends { at: number }>(
  at: number[],
  points: T[],
  value: (point: T) => number | null,
  missing: number | null,
) {
  const known = new Map(points.map((one) => [one.at, one]));
  return at.map((moment) => {
    const found = known.get(moment);
    return found ? value(found) : missing;
  });
}

function sum(points: Point[], of: (point: Point) => number): number {
  return points.reduce((total, one) => total + of(one), 0);
}

function Health({ data, span }: { data: AgentDetail; span: string }) {
  const at = moments(data, span);
  const calls = sum(data.points, (one) => one.calls);
  const errors = sum(data.points, (one) => one.errors);
  return (
    <Card title="Session health">
      <Facts
        of={[
          [
            "Sessions",
            <span key="s" class="num">
              {number(sum(data.points, (one) => one.sessions))}
            </span>,
          ],
          [
            "Tool calls",
            <span key="c" class="num">
              {number(calls)}
            </span>,
          ],
          [
            "Without error",
            <span key="e" class="num">
              {share(calls - errors, calls)}
            </span>,
          ],
        ]}
      />
      <div class="charts">
        <Chart
          title="Tool calls"
          kind="bar"
          at={at}
          show={(value) => number(value)}
          series={[
            {
              name: "ok",
              colour: "accent",
              values: spread(at, data.points, (one) => one.calls - one.errors, 0),
            },
            { name: "errors", colour: "red", values: spread(at, data.points, (one) => one.errors, 0) },
          ]}
        />
        <Chart
          title="Latency of tool calls"
          at={at}
          show={millis}
          series={["p50", "p95", "p99"].map((name, n) => ({
            name,
            colour: ["accent", "amber", "red"][n] ?? "accent",
            values: spread(at, data.points, (one) => one.latency[n] ?? null, null),
          }))}
        />
      </div>
    </Card>
  );
}

function Compliance({ data, span, id }: { data: AgentDetail; span: string; id: string }) {
  const at = moments(data, span);
  const bound = sum(data.points, (one) => one.bound);
  const valid = sum(data.points, (one) => one.valid);
  return (
    <Card title="Pact compliance">
      <Facts
        of={[
          [
            "Bound calls",
            <span key="b" class="num">
              {number(bound)}
            </span>,
          ],
          [
            "Valid",
            <span key="v" class={`num ${band(valid, bound)}`}>
              {share(valid, bound, 2)}
            </span>,
          ],
          ...(["critical", "major", "minor", "info"] as const).map((name): [string, preact.JSX.Element] => [
            name,
            <span key={name} class="num">
              {number(sum(data.points, (one) => one[name]))}
            </span>,
          ]),
        ]}
      />
      <div class="charts">
        <Chart
          title="Valid calls"
          at={at}
          bounds={[90, 100]}
          show={(value) => (value === null ? "–" : `${number(value, 1)} %`)}
          bands={[{ value: 99.5, label: "99.5 %" }]}
          series={[
            {
              name: "valid",
              colour: "accent",
              values: spread(
                at,
                data.points,
                (one) => (one.bound ? (100 * one.valid) / one.bound : null),
                null,
              ),
            },
          ]}
        />
        <Chart
          title="Violations"
          kind="bar"
          at={at}
          show={(value) => number(value)}
          series={(
            [
              ["critical", "red"],
              ["major", "amber"],
              ["minor", "blue"],
              ["info", "grey"],
            ] as const
          ).map(([name, colour]) => ({
            name,
            colour,
            values: spread(at, data.points, (one) => one[name], 0),
          }))}
        />
      </div>
      {data.paths.length > 0 && (
        <Table label="Rules violated most">
          <thead>
            <tr>
              <th>Violated most</th>
              <th>Rule</th>
              <th>Severity</th>
              <th class="right">Times</th>
            </tr>
          </thead>
          <tbody>
            {data.paths.map((one) => (
              <tr key={`${one.paramPath} ${one.rule} ${one.severity}`}>
                <td>
                  <Link
                    to={`${path()}?agent=${id}&verdict=violated&path=${encodeURIComponent(one.paramPath)}`}
                  >
                    <code>{one.paramPath || "(call)"}</code>
                  </Link>
                </td>
                <td>{ruleText(one.rule)}</td>
                <td>
                  <Severity of={one.severity} />
                </td>
                <td class="right num">{number(one.count)}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </Card>
  );
}

function OracleHealth({ data, span }: { data: AgentDetail; span: string }) {
  const at = moments(data, span);
  const total = (of: (point: OraclePoint) => number) => data.oracle.reduce((sum, one) => sum + of(one), 0);
  const checks = total((one) => one.checks);
  return (
    <Card title="Oracle health" aside="of the whole deployment">
      <Facts
        of={[
          [
            "Queries",
            <span key="q" class="num">
              {number(total((one) => one.queries))}
            </span>,
          ],
          [
            "Answered",
            <span key="a" class="num">
              {share(
                total((one) => one.queries - one.failures),
                total((one) => one.queries),
                2,
              )}
            </span>,
          ],
          [
            "Signatures that hold",
            <span key="c" class="num">
              {share(checks - total((one) => one.failedChecks), checks, 2)}
            </span>,
          ],
        ]}
      />
      <div class="charts">
        <Chart
          title="Time to answer"
          at={at}
          show={millis}
          series={["p50", "p95", "p99"].map((name, n) => ({
            name,
            colour: ["accent", "amber", "red"][n] ?? "accent",
            values: spread(at, data.oracle, (one) => one.latency[n] ?? null, null),
          }))}
        />
        <Chart
          title="Arrival to seal"
          at={at}
          show={(value) => (value === null ? "–" : `${number(value, 1)} s`)}
          series={[
            {
              name: "longest",
              colour: "accent",
              values: spread(at, data.oracle, (one) => one.lagSeconds, null),
            },
          ]}
        />
      </div>
    </Card>
  );
}

function ScoreCard({ score }: { score: Score | null }) {
  if (!score) {
    return (
      <Card title="Score">
        <Empty>No score yet. It follows the first events within seconds.</Empty>
      </Card>
    );
  }
  const tier = score.tier ? `tier ${score.tier}` : "below all tiers";
  return (
    <Card title="Score" aside={<When at={score.computedAt} />}>
      <p class="big">
        <b class="num">{number(score.composite, 1)}</b>
        <span>
          {score.composite === null ? "Too little is covered for a composite" : `of 100, ${tier}`}
          <br />
          <small>
            confidence {number(score.confidence, 2)}, {number(score.coveredWeight)} % of the weight covered
          </small>
        </span>
      </p>
      <Table label="Score by dimension">
        <thead>
          <tr>
            <th>Dimension</th>
            <th class="right">Weight</th>
            <th class="right">Score</th>
            <th class="wide">
              <span class="sr">Score as a bar</span>
            </th>
            <th class="right">Confidence</th>
          </tr>
        </thead>
        <tbody>
          {score.dimensions.map((one) => (
            <tr key={one.name} class={one.score === null ? "muted" : ""}>
              <td>{words(one.name)}</td>
              <td class="right num">{number(one.weight)}</td>
              <td class="right num">{number(one.score, 1)}</td>
              <td class="wide">
                {one.score !== null && (
                  <Meter value={one.score} max={100} label={`${number(one.score, 1)} of 100`} />
                )}
              </td>
              <td class="right num">{one.score === null ? "–" : number(one.confidence, 2)}</td>
            </tr>
          ))}
        </tbody>
      </Table>
    </Card>
  );
}

function words(name: string): string {
  const spaced = name
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/[_-]/g, " ")
    .toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

function Nights({ of }: { of: AgentDetail["nights"] }) {
  if (of.length === 0) return <Empty>The first nightly score is computed at midnight (UTC).</Empty>;
  return (
    <Chart
      title="Composite"
      at={of.map((one) => Date.parse(`${one.day}T00:00:00Z`) / 1000)}
      bounds={[0, 100]}
      show={(value) => number(value, 1)}
      series={[{ name: "composite", colour: "accent", values: of.map((one) => one.composite) }]}
    />
  );
}

function Falls({ of }: { of: Fall[] }) {
  return (
    <>
      {of.map((one) => (
        <details key={one.day} class="fall">
          <summary>
            <span class="chip major">fell</span> {number(one.previous, 1)} → {number(one.composite, 1)} on{" "}
            {one.day}
          </summary>
          <ul>
            {one.contributions
              .filter((part) => part.change !== 0)
              .map((part) => (
                <li key={part.dimension}>
                  {words(part.dimension)} <b class="num">{number(part.change, 2)}</b>
                </li>
              ))}
          </ul>
          {one.events.length > 0 && (
            <p>
              Events behind it:{" "}
              {one.events.map((event) => (
                <span key={event.eventId}>
                  <EventLink id={event.eventId} /> ({event.what}){" "}
                </span>
              ))}
            </p>
          )}
        </details>
      ))}
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
