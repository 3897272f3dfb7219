import { useEffect, useState } from "preact/hooks";
import { hold, send } from "../api";
import { ago, counted, inline, ruleText } from "../format";
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
  SessionLink,
  Severity,
  State,
  Table,
  When,
} from "../parts";
import { Link, path, setQuery } from "../router";
import type { FullPage, Page, Proposal, Visitor } from "../types";
import { Differences, ReplayResult } from "./review";

// What is done comes back through the ledger, a moment later.
const REFRESH_MILLIS = 2_000;

const SHOWN: [string, string][] = [
  ["unresolved", "Unresolved"],
  ["closed", "Closed"],
  ["", "All"],
];

export function PagesView({ query }: { query: URLSearchParams }) {
  useTitle("Pages");
  const status = query.get("status") ?? "unresolved";
  const { data, failure } = useLoaded<{ pages: Page[] }>("pages", { status: status === "all" ? "" : status });
  return (
    <>
      <div class="heading">
        <h1>Pages</h1>
        <fieldset class="segmented">
          <legend class="sr">Which pages</legend>
          {SHOWN.map(([value, name]) => (
            <label key={value}>
              <input
                type="radio"
                name="status"
                checked={status === (value || "all")}
                onChange={() => setQuery({ status: value || "all" })}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <Problem failure={failure} />
      {!data && !failure && <Loading />}
      {data?.pages.length === 0 && (
        <Empty>No pages. A critical violation opens one, and calls the people on duty.</Empty>
      )}
      {data && data.pages.length > 0 && (
        <Card title={counted(data.pages.length, "page")}>
          <PageList pages={data.pages} />
        </Card>
      )}
    </>
  );
}

export function PageList({ pages }: { pages: Page[] }) {
  return (
    <ul class="pages">
      {pages.map((one) => (
        <li key={one.pageId}>
          <Severity of={one.severity} />
          <Link to={path("pages", one.pageId)}>
            {one.tool}: {one.paramPath} {ruleText(one.rule)}
          </Link>
          <PageState page={one} />
          <span class="muted num">
            {one.occurrences} ×, opened {ago(one.openedAt)}
          </span>
        </li>
      ))}
    </ul>
  );
}

function PageState({ page }: { page: Page }) {
  const tone = page.status === "open" ? "critical" : page.status === "acknowledged" ? "major" : "none";
  return <span class={`chip ${tone}`}>{page.resolution || page.status}</span>;
}

type Action = "acknowledge" | "accept" | "block" | "rotate";

export function PageView({ id, visitor }: { id: string; visitor: Visitor }) {
  const { data, failure, reload } = useLoaded<FullPage>(
    `pages/${encodeURIComponent(id)}`,
    {},
    REFRESH_MILLIS,
  );
  const [action, setAction] = useState<Action>();
  const [said, setSaid] = useState("");
  useTitle(data ? `${data.tool}: ${data.rule}` : "Page");
  if (failure && !data) return <Problem failure={failure} />;
  if (!data) return <Loading />;
  const about = data.violations.find((one) => one.paramPath === data.paramPath && one.rule === data.rule);
  const others = data.violations.filter((one) => one !== about);
  const done = (message: string) => {
    setSaid(message);
    reload();
  };
  return (
    <>
      <div class="heading">
        <h1>
          {data.tool}: {data.paramPath || "the call"} {ruleText(data.rule)}
        </h1>
        <Severity of={data.severity} />
        <PageState page={data} />
      </div>
      {said && (
        <p class="said" role="status">
          {said}
        </p>
      )}
      <Card title="What happened" class={data.status === "closed" ? "" : "broken"}>
        <Facts
          of={[
            [
              "Value",
              <code key="value" class="failing">
                {inline(about?.value)}
              </code>,
            ],
            ["Rule", `${data.rule} on ${data.paramPath || "the call"}`],
            ["Expected", <code key="expected">{inline(about?.expected)}</code>],
            [
              "Agent",
              <span key="agent">
                <Link to={path("agents", data.agentId)}>{data.agentName || data.agentId}</Link>{" "}
                <State of={data.agentStatus} />
              </span>,
            ],
            ["Session", <SessionLink key="session" agent={data.agentId} session={data.sessionId} />],
            [
              "Pact",
              <Link key="pact" to={path("pacts", data.pactId)}>
                version {data.pactVersion}
              </Link>,
            ],
            ["First", <When key="first" at={data.openedAt} />],
            [
              "Times",
              <span key="times" class="num">
                {data.occurrences}
              </span>,
            ],
            [
              "Event",
              <span key="event">
                <EventLink id={data.eventId} /> ·{" "}
                <Link to={`${path("ledger")}?event=${data.eventId}`}>proof</Link>
              </span>,
            ],
          ]}
        />
        {others.length > 0 && (
          <>
            <p class="muted">The same call also violated:</p>
            <ul class="rules">
              {others.map((one) => (
                <li key={`${one.paramPath} ${one.rule}`}>
                  <code>{one.paramPath}</code> {ruleText(one.rule)}, <code>{inline(one.value)}</code>
                </li>
              ))}
            </ul>
          </>
        )}
      </Card>
      {data.status !== "closed" && <Actions page={data} visitor={visitor} onChoose={setAction} />}
      <div class="columns">
        <Card title="Latest calls" aside="when the page was opened">
          <Calls of={data} />
        </Card>
        <Card title="History">
          <ol class="history">
            {data.history.map((one) => (
              <li key={one.at + one.action}>
                <When at={one.at} /> {one.action} by {one.by}
                {one.reason && <q>{one.reason}</q>}
              </li>
            ))}
          </ol>
          <h3>Delivered to</h3>
          {data.deliveries.length === 0 ? (
            <Empty>No route takes it. Set one for your tenant.</Empty>
          ) : (
            <ul class="history">
              {data.deliveries.map((one) => (
                <li key={one.route}>
                  {one.route || "Nobody"}{" "}
                  <span
                    class={`chip ${one.state === "delivered" ? "good" : one.state === "failed" ? "critical" : "none"}`}
                  >
                    {one.state}
                  </span>{" "}
                  <span class="muted">
                    {one.kind && `${one.kind}, ${counted(one.attempts, "attempt")}`}
                    {one.kind && one.error && ", "}
                    {one.error}
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Card>
      </div>
      {action === "acknowledge" && (
        <Simple action="acknowledge" page={data} onClose={() => setAction(undefined)} onDone={done} />
      )}
      {action === "block" && (
        <Simple action="block" page={data} onClose={() => setAction(undefined)} onDone={done} />
      )}
      {action === "rotate" && <Rotate page={data} onClose={() => setAction(undefined)} onDone={done} />}
      {action === "accept" && <Accept page={data} onClose={() => setAction(undefined)} onDone={done} />}
    </>
  );
}

function Actions({
  page,
  visitor,
  onChoose,
}: {
  page: FullPage;
  visitor: Visitor;
  onChoose: (action: Action) => void;
}) {
  const may = visitor.scopes.includes("pages:act");
  return (
    <Card title="What to do">
      {!may && <p class="note">Your key lacks the scope pages:act: you can look, and not act.</p>}
      {page.status === "open" && (
        <p class="acknowledge">
          <button type="button" class="primary" disabled={!may} onClick={() => onChoose("acknowledge")}>
            Acknowledge
          </button>
          <span class="muted">Say that you are on it.</span>
        </p>
      )}
      <div class="actions">
        <div>
          <h3>It was right</h3>
          <p>Loosen the pact for exactly this rule. You see the difference and a replay first.</p>
          <button type="button" disabled={!may} onClick={() => onChoose("accept")}>
            Accept and document
          </button>
        </div>
        <div>
          <h3>I do not know yet</h3>
          <p>Pause the agent. Its pre-flights are refused until somebody resumes it.</p>
          <button type="button" disabled={!may} onClick={() => onChoose("block")}>
            Block and investigate
          </button>
        </div>
        <div>
          <h3>It was not us</h3>
          <p>Revoke the agent's keys, issue new ones, abort its sessions.</p>
          <button type="button" class="danger" disabled={!may} onClick={() => onChoose("rotate")}>
            Compromise and rotate
          </button>
        </div>
      </div>
    </Card>
  );
}

function Calls({ of }: { of: FullPage }) {
  if (of.recentCalls.length === 0) return <Empty>None.</Empty>;
  return (
    <Table label="Latest calls, newest first">
      <thead>
        <tr>
          <th>When</th>
          <th>Tool</th>
          <th>Verdict</th>
          <th>Parameters</th>
        </tr>
      </thead>
      <tbody>
        {of.recentCalls.map((one) => (
          <tr key={one.eventId} class={one.valid === false ? "broken" : ""}>
            <td class="num">{new Date(one.occurredAt).toLocaleTimeString("en-GB")}</td>
            <td>
              <EventLink id={one.eventId}>{one.tool}</EventLink>
            </td>
            <td>
              {one.valid === false ? (
                <Severity of={one.severity || "critical"} />
              ) : (
                <span class="chip good">{one.outcome}</span>
              )}
            </td>
            <td>
              <code class="params">{one.params === undefined ? "–" : inline(one.params)}</code>
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

interface ActionProps {
  page: FullPage;
  onClose: () => void;
  onDone: (message: string) => void;
}

function Reason({
  value,
  onChange,
  label = "Reason",
}: {
  value: string;
  onChange: (value: string) => void;
  label?: string;
}) {
  return (
    <Field label={label} hint="It goes into the ledger with your key's name.">
      {(id) => (
        <textarea
          id={id}
          rows={3}
          required={label === "Reason"}
          maxLength={2000}
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

function Simple({ action, page, onClose, onDone }: ActionProps & { action: "acknowledge" | "block" }) {
  const [reason, setReason] = useState("");
  const { busy, failure, run } = useAction();
  const block = action === "block";
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      const body = block ? { reason } : reason ? { note: reason } : {};
      await send("POST", `pages/${page.pageId}/${action}`, body);
      onClose();
      onDone(block ? "The agent is paused." : "Acknowledged.");
    });
  };
  return (
    <Dialog title={block ? "Block and investigate" : "Acknowledge"} onClose={onClose}>
      <form onSubmit={submit}>
        {block && (
          <p>
            The agent {page.agentName} is paused at once: its pre-flights answer "agent_paused", its report
            says so.
          </p>
        )}
        <Reason value={reason} onChange={setReason} label={block ? "Reason" : "Note (optional)"} />
        <Problem failure={failure} />
        <button type="submit" class="primary" disabled={busy}>
          {block ? "Pause the agent" : "Acknowledge"}
        </button>
      </form>
    </Dialog>
  );
}

interface Rotated {
  revokedKeys: string[];
  keys: { keyId: string; key: string }[];
}

function Rotate({ page, onClose, onDone }: ActionProps) {
  const [reason, setReason] = useState("");
  const [rotated, setRotated] = useState<Rotated>();
  const { busy, failure, run } = useAction();
  // The visitor's own key may be among those that were revoked; the new ones are shown all the same.
  useEffect(() => (rotated ? hold() : undefined), [rotated]);
  const close = () => {
    onClose();
    if (rotated) onDone("The keys are rotated and the agent's sessions aborted.");
  };
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => setRotated(await send<Rotated>("POST", `pages/${page.pageId}/rotate`, { reason })));
  };
  return (
    <Dialog title="Compromise and rotate" onClose={close}>
      {rotated ? (
        <div class="keys">
          <p>
            <strong>The new keys are shown here once, and kept nowhere.</strong> Copy them now.
          </p>
          {rotated.keys.map((one) => (
            <p key={one.keyId}>
              <code class="secret">{one.key}</code>
              <button type="button" onClick={() => navigator.clipboard.writeText(one.key)}>
                Copy
              </button>
            </p>
          ))}
          <p class="muted">Revoked: {rotated.revokedKeys.join(", ") || "none"}</p>
        </div>
      ) : (
        <form onSubmit={submit}>
          <p>
            This revokes the keys of {page.agentName}, issues new ones, gives back its reservations and aborts
            its sessions. It cannot be undone. If your own key is among them, you are logged out.
          </p>
          <Reason value={reason} onChange={setReason} />
          <Problem failure={failure} />
          <button type="submit" class="danger" disabled={busy}>
            Revoke and rotate
          </button>
        </form>
      )}
    </Dialog>
  );
}

function Accept({ page, onClose, onDone }: ActionProps) {
  const proposal = useLoaded<Proposal>(`pages/${page.pageId}/proposal`);
  const [reason, setReason] = useState("");
  const { busy, failure, run } = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      const { baseVersion, document } = proposal.data as Proposal;
      const said = await send<{ status: string; pactVersion?: number }>(
        "POST",
        `pages/${page.pageId}/accept`,
        {
          reason,
          baseVersion,
          document,
        },
      );
      onClose();
      onDone(
        said.status === "done"
          ? `Version ${said.pactVersion} of the pact is in force.`
          : "It waits for the approval of a second key.",
      );
    });
  };
  return (
    <Dialog title="Accept and document" onClose={onClose}>
      <Problem failure={proposal.failure} />
      {proposal.loading && <Loading />}
      {proposal.data && (
        <form onSubmit={submit}>
          <h3>What changes, from version {proposal.data.baseVersion}</h3>
          <Differences of={proposal.data.diff} />
          <h3>The last 24 hours under it</h3>
          <ReplayResult of={proposal.data.replay} />
          <Reason value={reason} onChange={setReason} />
          <Problem failure={failure} />
          <button type="submit" class="primary" disabled={busy}>
            Put it in force
          </button>
        </form>
      )}
    </Dialog>
  );
}
