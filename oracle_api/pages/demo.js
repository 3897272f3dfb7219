// The live page. What comes from events goes into the page as text, never as markup.

const SHOWN = 30;
const agent = document.body.dataset.agent;
const byId = (id) => document.getElementById(id);

/** Sequence number to event, the latest thirty. */
let events = new Map();
let summary = { known: false };
let lastArrival = null;

const LABELS = {
  session_start: "Session opened",
  session_end: "Session closed",
  response: "Response",
};

const RULES = {
  allowList: "is not on the allow list",
  denyList: "is on the deny list",
  regex: "does not match the pattern",
  valueRange: "is out of range",
  maxAmount: "is above the maximum",
  required: "is missing",
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function verdictOf(event) {
  if (event.valid === false) return "broken";
  return event.valid && event.bound ? "kept" : "none";
}

function verdictCell(event) {
  const kind = verdictOf(event);
  const cell = element("div", `verdict ${kind}`);
  if (kind === "kept") {
    cell.append(element("span", "mark", "✓"), "Pact kept");
  } else if (kind === "broken") {
    const title = event.severity ? `Violation, ${event.severity}` : "Violation";
    cell.append(element("span", "mark", "✕"), element("strong", "", title));
    const rules = element("ul", "rules");
    for (const one of event.violations) {
      const line = element("li");
      line.append(element("code", "", one.paramPath), ` ${RULES[one.rule] ?? "breaks the rule"} `);
      line.append(element("small", "", one.severity === event.severity ? one.rule : `${one.rule}, ${one.severity}`));
      rules.append(line);
    }
    if (event.omitted) rules.append(element("li", "", `and ${event.omitted} more`));
    cell.append(rules);
  } else if (event.type === "tool_call") {
    cell.textContent = event.valid === null ? "No pact named" : "Not bound by the pact";
  }
  return cell;
}

function eventRow(event, isNew) {
  const row = element("li", `event ${verdictOf(event)}`);
  row.dataset.sequence = event.sequence;
  if (event.type !== "tool_call") row.classList.add("bracket");
  if (isNew) row.classList.add("new");

  const time = element("time", "time", clockTime(event.occurredAt));
  time.dateTime = event.occurredAt;
  time.title = event.occurredAt;
  const what = element("div", "what");
  if (event.type === "tool_call") what.append(element("span", "tool", event.tool));
  else what.textContent = LABELS[event.type] ?? event.type;
  const outcome = element("div", "outcome", event.outcome);
  if (event.latencyMs !== null) outcome.append(" ", element("small", "", duration(event.latencyMs)));
  row.append(element("div", "number", event.sequence), time, what, outcome, verdictCell(event));
  return row;
}

/** Newest first; a heading wherever the session changes. */
function sessionBlocks(latest, fresh) {
  const blocks = [];
  let session = null;
  let rows = null;
  for (const event of latest.toReversed()) {
    if (event.sessionId !== session) {
      session = event.sessionId;
      rows = element("ol");
      const block = element("li", "session");
      const heading = element("h3", "", "Session ");
      heading.append(element("code", "", session));
      block.append(heading, rows);
      blocks.push(block);
    }
    rows.append(eventRow(event, fresh.has(event.sequence)));
  }
  return blocks;
}

function duration(millis) {
  return millis < 1000 ? `${Math.round(millis)} ms` : `${decimal(millis / 1000, 2)} s`;
}

function clockTime(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

function takeEvents(incoming) {
  if (incoming.length && incoming.at(-1).sequence < Math.max(0, ...events.keys()) - SHOWN) events = new Map();
  const known = new Set(events.keys());
  for (const one of incoming) events.set(one.sequence, one);
  const latest = [...events.values()].sort((a, b) => a.sequence - b.sequence).slice(-SHOWN);
  events = new Map(latest.map((one) => [one.sequence, one]));
  const fresh = known.size ? latest.filter((one) => !known.has(one.sequence)) : [];
  lastArrival = latest.length ? Date.parse(latest.at(-1).receivedAt) : null;

  const numbers = new Set(fresh.map((one) => one.sequence));
  byId("events").replaceChildren(...sessionBlocks(latest, numbers));
  byId("strip").replaceChildren(...latest.map((one) => element("i", `tick ${verdictOf(one)}`)));
  byId("empty").hidden = latest.length > 0;
  byId("events").hidden = latest.length === 0;
  announce(fresh);
  showAge();
}

function announce(fresh) {
  if (!fresh.length) return;
  const broken = fresh.filter((one) => one.valid === false);
  const counted = fresh.length === 1 ? "1 new event" : `${fresh.length} new events`;
  const named = broken.map((one) => `${one.severity} violation by ${one.tool}`);
  byId("announcement").textContent = [counted, ...named].join("; ");
}

function takeSummary(incoming) {
  summary = incoming;
  const scored = summary.composite !== null && summary.composite !== undefined;
  byId("composite").textContent = scored ? decimal(summary.composite, 1) : "–";
  byId("confidence").textContent = scored ? `confidence ${decimal(summary.confidence, 2)}` : "not computed yet";
  const rated = summary.rate !== null && summary.rate !== undefined;
  byId("rate").textContent = rated ? decimal(100 * summary.rate, 2) : "–";
  byId("rate-unit").textContent = rated ? "%" : "";
  byId("counts").textContent = rated
    ? `${summary.valid} of ${summary.bound} bound calls`
    : "no bound calls yet";
  byId("sealed").textContent = summary.treeSize ? summary.treeSize.toLocaleString("en") : "–";
  byId("sealed-unit").textContent = summary.treeSize ? (summary.treeSize === 1 ? "leaf" : "leaves") : "";
  byId("origin").textContent = summary.origin ? `${summary.origin}` : "no checkpoint yet";
  byId("head").textContent = summary.headHash
    ? `This agent’s newest sealed leaf: no. ${summary.sealedThrough}, ${summary.headHash}`
    : "";
  if (summary.issuer) byId("issuer").textContent = summary.issuer;
  showConnection(summary.stale ? "stale" : "live");
  showAge();
}

/** As many digits as it takes, at most `digits`: 96, 99.52. */
function decimal(value, digits) {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function showAge() {
  if (lastArrival === null) return;
  const seconds = Math.max(0, Math.round((Date.now() - lastArrival) / 1000));
  const [amount, unit] =
    seconds < 60 ? [seconds, "s ago"]
    : seconds < 3600 ? [Math.floor(seconds / 60), "min ago"]
    : seconds < 86400 ? [Math.floor(seconds / 3600), "h ago"]
    : [Math.floor(seconds / 86400), "days ago"];
  byId("age").textContent = amount;
  byId("age-unit").textContent = unit;
  const { scoredThrough, sealedThrough } = summary;
  byId("reflected").textContent =
    !scoredThrough ? "not scored yet"
    : scoredThrough === sealedThrough ? `no. ${scoredThrough}, scored and sealed`
    : `no. ${scoredThrough} scored, no. ${sealedThrough} sealed`;
}

function showConnection(state) {
  const texts = {
    connecting: "Connecting…",
    live: "Live",
    stale: "The ledger does not answer; showing what is known",
    lost: "Connection lost; trying again",
  };
  byId("connection").dataset.state = state === "stale" ? "lost" : state;
  byId("connection-text").textContent = texts[state];
}

function follow() {
  const source = new EventSource(`/api/v1/trust/${agent}/events`);
  source.addEventListener("events", (message) => takeEvents(JSON.parse(message.data)));
  source.addEventListener("summary", (message) => takeSummary(JSON.parse(message.data)));
  source.addEventListener("open", () => showConnection("live"));
  source.addEventListener("error", () => {
    showConnection("lost");
    // A refusal (too many streams) closes the source for good, unlike a broken connection.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 10_000);
  });
}

byId("base").textContent = location.origin;
byId("events").hidden = true;
setInterval(showAge, 1_000);
follow();
