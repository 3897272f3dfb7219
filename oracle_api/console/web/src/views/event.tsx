import { millis, pretty, short, typeText } from "../format";
import { useLoaded, useTitle } from "../hooks";
import {
  Card,
  Empty,
  EventLink,
  Facts,
  Loading,
  Problem,
  Rules,
  SessionLink,
  Verdict,
  When,
  what,
} from "../parts";
import { Link, path } from "../router";
import type { Event, FullEvent, Value } from "../types";

export function EventView({ id }: { id: string }) {
  const { data, failure } = useLoaded<FullEvent>(`events/${encodeURIComponent(id)}`);
  useTitle(data ? what(data.event) : "Event");
  if (failure) return <Problem failure={failure} />;
  if (!data) return <Loading />;
  const event = data.event;
  return (
    <>
      <div class="heading">
        <h1>{what(event)}</h1>
        <Verdict event={event} />
        {event.type === "page" && event.outcome === "opened" && (
          <Link to={path("pages", event.eventId)} class="button">
            Its page
          </Link>
        )}
        <Link to={`${path("ledger")}?event=${event.eventId}`} class="button">
          Verify its proof
        </Link>
      </div>
      {event.valid === false && (
        <Card title="What was violated" class="broken">
          <Rules of={event.violations} omitted={event.omitted} />
          <Failing event={event} values={data.values} />
        </Card>
      )}
      <div class="columns">
        <Card title="The event">
          <Facts
            of={[
              ["Kind", typeText(event.type)],
              ["Event", <code key="id">{event.eventId}</code>],
              [
                "Agent",
                <Link key="agent" to={path("agents", event.agentId)}>
                  {event.agentId}
                </Link>,
              ],
              ["Session", <SessionLink key="session" agent={event.agentId} session={event.sessionId} />],
              [
                "Number",
                <span key="number" class="num">
                  {event.sequence}
                </span>,
              ],
              ["Happened", <When key="at" at={event.occurredAt} />],
              ["Arrived", <When key="received" at={event.receivedAt} />],
              ...(event.outcome ? ([["Outcome", event.outcome]] as [string, string][]) : []),
              ...(event.latencyMs === null
                ? []
                : ([["Took", millis(event.latencyMs)]] as [string, string][])),
              ...(event.parentEventId
                ? ([["Caused by", <EventLink key="parent" id={event.parentEventId} />]] as [
                    string,
                    preact.JSX.Element,
                  ][])
                : []),
              ...(event.pactId
                ? ([
                    [
                      "Pact",
                      <Link key="pact" to={path("pacts", event.pactId)}>
                        {short(event.pactId)}, version {event.pactVersion}
                      </Link>,
                    ],
                  ] as [string, preact.JSX.Element][])
                : []),
            ]}
          />
        </Card>
        <Card title="Private values" aside="seen by your tenant only">
          <Values of={data.values} />
        </Card>
      </div>
      <Card title="In the ledger">
        <Facts
          of={[
            [
              "Log",
              <span key="log" class="num">
                {event.log}
              </span>,
            ],
            [
              "Leaf",
              <span key="leaf" class="num">
                {event.leafIndex}
              </span>,
            ],
            ["Leaf's hash", <code key="hash">{data.leafHash}</code>],
          ]}
        />
        <details>
          <summary>The leaf, as everybody sees it</summary>
          <pre>{pretty(data.leaf)}</pre>
        </details>
      </Card>
    </>
  );
}

function Failing({ event, values }: { event: Event; values: Value[] }) {
  const known = new Map(values.map((one) => [one.field, one.json]));
  const failing = event.violations.flatMap((one, at) => {
    const value = known.get(`violations.${at}.value`);
    return value === undefined ? [] : [{ path: one.paramPath, rule: one.rule, value }];
  });
  if (failing.length === 0) return null;
  return (
    <Facts
      of={failing.map((one) => [`${one.path} (${one.rule})`, <code key={one.rule}>{one.value}</code>])}
    />
  );
}

export function Values({ of }: { of: Value[] }) {
  const shown = of.filter((one) => !one.field.startsWith("violations."));
  if (shown.length === 0) return <Empty>None, or erased.</Empty>;
  return (
    <dl class="values">
      {shown.map((one) => (
        <div key={one.field}>
          <dt>{one.field}</dt>
          <dd>
            <pre>
              {one.cut ? one.json : pretty(one.json)}
              {one.cut && "…"}
            </pre>
          </dd>
        </div>
      ))}
    </dl>
  );
}
