import { millis, short, time, typeText } from "../format";
import { useLoaded, useTitle } from "../hooks";
import { Card, EventLink, Facts, Loading, Problem, Rules, Verdict, When, what } from "../parts";
import { Link, path } from "../router";
import type { Event, Session, Value } from "../types";
import { Values } from "./event";

export function SessionView({ agent, session }: { agent: string; session: string }) {
  useTitle(session);
  const { data, failure, reload } = useLoaded<Session>(`sessions/${encodeURIComponent(agent)}`, { session });
  if (failure) return <Problem failure={failure} />;
  if (!data) return <Loading />;
  const events = data.events;
  const first = events[0];
  const last = events[events.length - 1];
  const calls = events.filter((one) => one.type === "tool_call");
  const broken = events.filter((one) => one.valid === false);
  const end = events.find((one) => one.type === "session_end");
  return (
    <>
      <div class="heading">
        <h1>{session}</h1>
        <button type="button" onClick={reload}>
          Refresh
        </button>
      </div>
      <Card title="Session">
        <Facts
          of={[
            [
              "Agent",
              <Link key="agent" to={path("agents", agent)}>
                {agent}
              </Link>,
            ],
            ["Began", first ? <When key="first" at={first.occurredAt} /> : "–"],
            ["Last event", last ? <When key="last" at={last.occurredAt} /> : "–"],
            ["State", end ? `ended: ${end.outcome}` : "in flight"],
            [
              "Tool calls",
              <span key="calls" class="num">
                {calls.length}
              </span>,
            ],
            [
              "Violations",
              <span key="broken" class="num">
                {broken.length}
              </span>,
            ],
          ]}
        />
      </Card>
      {!data.complete && <p class="note">The first {events.length} events are shown.</p>}
      <ol class="timeline" aria-label="What happened, oldest first">
        {events.map((one) => (
          <Step key={one.eventId} event={one} values={data.values[one.eventId] ?? []} known={events} />
        ))}
      </ol>
    </>
  );
}

function Step({ event, values, known }: { event: Event; values: Value[]; known: Event[] }) {
  const broken = event.valid === false;
  const parent = known.find((one) => one.eventId === event.parentEventId);
  return (
    <li
      id={event.eventId}
      class={`step ${event.type.replace(".", "-")} ${broken ? `broken ${event.severity}` : ""}`}
    >
      <div class="line">
        <time class="num" dateTime={event.occurredAt}>
          {time(event.occurredAt)}
        </time>
        <strong>
          <EventLink id={event.eventId}>{what(event)}</EventLink>
        </strong>
        {event.type === "tool_call" && <Verdict event={event} />}
        {event.outcome && <span class="muted">{event.outcome}</span>}
        {event.latencyMs !== null && <span class="num muted">{millis(event.latencyMs)}</span>}
        {event.tokenCount !== null && <span class="num muted">{event.tokenCount} tokens</span>}
      </div>
      {event.parentEventId && (
        <p class="parent">
          caused by{" "}
          {parent ? (
            <a href={`#${parent.eventId}`}>{`${what(parent)}, number ${parent.sequence}`}</a>
          ) : (
            <EventLink id={event.parentEventId} />
          )}
        </p>
      )}
      {broken && <Rules of={event.violations} omitted={event.omitted} />}
      {values.length > 0 && (
        <details open={broken}>
          <summary>
            {event.type === "tool_call"
              ? "Parameters and values"
              : `Values of ${typeText(event.type).toLowerCase()}`}{" "}
            <span class="sr">of {short(event.eventId)}</span>
          </summary>
          <Values of={values} />
        </details>
      )}
    </li>
  );
}
