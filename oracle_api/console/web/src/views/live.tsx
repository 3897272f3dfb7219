import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { millis, short, time } from "../format";
import { useLoaded, useStream, useTitle } from "../hooks";
import { Empty, EventLink, Field, Loading, Problem, Rules, SessionLink, Verdict, what } from "../parts";
import { Link, path, setQuery } from "../router";
import type { Event, ListedAgent } from "../types";

const KEPT = 300;
const GRAVE = new Set(["error", "denied", "refused", "failure", "failed", "aborted"]);
const TYPES: [string, string][] = [
  ["", "All events"],
  ["tool_call", "Tool calls"],
  ["response", "Responses"],
  ["session_start", "Session begins"],
  ["session_end", "Session ends"],
  ["tool_call.violation", "Violations of windows"],
  ["page", "Pages"],
];
const VERDICTS: [string, string][] = [
  ["", "Any verdict"],
  ["violated", "Violated"],
  ["valid", "Valid"],
  ["critical", "Critical"],
  ["major", "Major"],
  ["minor", "Minor"],
  ["info", "Info"],
];

const NAMES = ["agent", "type", "verdict", "tool", "path"];

/** What is being typed is kept here: every event that arrives draws the view anew. */
function ToolFilter({ id, tool, change }: { id: string; tool: string; change: (tool: string) => void }) {
  const [typed, setTyped] = useState(tool);
  useEffect(() => setTyped(tool), [tool]);
  return (
    <input
      id={id}
      type="search"
      placeholder="transfer_funds"
      value={typed}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onChange={(event) => change(event.currentTarget.value.trim())}
    />
  );
}

export function LiveView({ query }: { query: URLSearchParams }) {
  useTitle("Live");
  const wanted = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  const agents = useLoaded<{ agents: ListedAgent[] }>("agents");
  const listed = useLoaded<{ events: Event[] }>("events", wanted);
  const [events, setEvents] = useState<Event[]>([]);
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const [missed, setMissed] = useState(0);
  const [paused, setPaused] = useState(false);
  const [waiting, setWaiting] = useState<Event[]>([]);
  const [older, setOlder] = useState<boolean>(true);

  useEffect(() => {
    if (!listed.data) return;
    setEvents(listed.data.events);
    setWaiting([]);
    setMissed(0);
    setOlder(listed.data.events.length > 0);
  }, [listed.data]);

  const add = (news: Event[]) => {
    setEvents((shown) => {
      const known = new Set(shown.map((one) => one.eventId));
      const fresh = news.filter((one) => !known.has(one.eventId)).reverse();
      return [...fresh, ...shown].slice(0, KEPT);
    });
    setFresh(new Set(news.map((one) => one.eventId)));
  };
  const connection = useStream(
    wanted,
    (news) => (paused ? setWaiting((kept) => [...kept, ...news].slice(-KEPT)) : add(news)),
    (count) => setMissed((n) => n + count),
    listed.reload,
  );
  const resume = () => {
    add(waiting);
    setWaiting([]);
    setPaused(false);
  };
  const more = async () => {
    const last = events[events.length - 1];
    if (!last) return;
    const before =
      Math.floor(Date.parse(`${last.receivedAt.slice(0, 23)}Z`) * 1000) +
      Number(last.receivedAt.slice(23, 26));
    const found = await get<{ events: Event[] }>("events", { ...wanted, before });
    setEvents((shown) => [...shown, ...found.events]);
    setOlder(found.events.length > 0);
  };
  const names = new Map(agents.data?.agents.map((one) => [one.agentId, one.name]));
  const change = (name: string, value: string) => setQuery({ ...wanted, [name]: value });

  return (
    <>
      <div class="heading">
        <h1>Live</h1>
        <p class={`connection ${connection}`} role="status">
          {connection === "live"
            ? "Live"
            : connection === "lost"
              ? "Connection lost, trying again"
              : "Connecting"}
        </p>
        {paused ? (
          <button type="button" class="primary" onClick={resume}>
            Go on{waiting.length > 0 && ` (${waiting.length} new)`}
          </button>
        ) : (
          <button type="button" onClick={() => setPaused(true)}>
            Hold
          </button>
        )}
      </div>
      <form class="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
        <Field label="Agent">
          {(id) => (
            <select
              id={id}
              value={wanted.agent}
              onChange={(event) => change("agent", event.currentTarget.value)}
            >
              <option value="">All agents</option>
              {agents.data?.agents.map((one) => (
                <option key={one.agentId} value={one.agentId}>
                  {one.name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Kind">
          {(id) => (
            <select
              id={id}
              value={wanted.type}
              onChange={(event) => change("type", event.currentTarget.value)}
            >
              {TYPES.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Verdict">
          {(id) => (
            <select
              id={id}
              value={wanted.verdict}
              onChange={(event) => change("verdict", event.currentTarget.value)}
            >
              {VERDICTS.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Tool">
          {(id) => <ToolFilter id={id} tool={wanted.tool ?? ""} change={(tool) => change("tool", tool)} />}
        </Field>
        {NAMES.some((name) => wanted[name]) && (
          <button type="button" class="quiet" onClick={() => setQuery({})}>
            Clear
          </button>
        )}
      </form>
      {wanted.path && (
        <p class="note">
          Only violations of <code>{wanted.path}</code>.
        </p>
      )}
      {missed > 0 && (
        <p class="note" role="status">
          {missed} events came too fast to be shown here; they are in the ledger.
        </p>
      )}
      <Problem failure={listed.failure} />
      {!listed.data && listed.loading && <Loading />}
      {listed.data && events.length === 0 && (
        <Empty>No events yet. They appear here as they are sealed.</Empty>
      )}
      {events.length > 0 && (
        <ol class="stream" aria-label="Events, newest first">
          {events.map((one) => (
            <Row
              key={one.eventId}
              event={one}
              agent={names.get(one.agentId)}
              fresh={fresh.has(one.eventId)}
            />
          ))}
        </ol>
      )}
      {events.length > 0 && older && (
        <p class="more">
          <button type="button" onClick={more}>
            Older events
          </button>
        </p>
      )}
    </>
  );
}

function Row({ event, agent, fresh }: { event: Event; agent: string | undefined; fresh: boolean }) {
  const broken = event.valid === false;
  return (
    <li class={`event ${broken ? `broken ${event.severity}` : ""} ${fresh ? "fresh" : ""}`}>
      <time class="num" dateTime={event.receivedAt}>
        {time(event.receivedAt)}
      </time>
      <span class="what">
        <EventLink id={event.eventId}>{what(event)}</EventLink>
        {event.outcome && event.outcome !== "success" && (
          <span class={GRAVE.has(event.outcome) ? "outcome grave" : "outcome"}> {event.outcome}</span>
        )}
      </span>
      <span class="verdict">
        <Verdict event={event} />
      </span>
      <span class="latency num">{event.latencyMs === null ? "" : millis(event.latencyMs)}</span>
      <span class="whose">
        <Link to={path("agents", event.agentId)}>{agent ?? short(event.agentId)}</Link>
        {" · "}
        <SessionLink agent={event.agentId} session={event.sessionId} />
      </span>
      {broken && <Rules of={event.violations} omitted={event.omitted} />}
    </li>
  );
}
