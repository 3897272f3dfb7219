import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { send } from "../api";
import { short } from "../format";
import { useAction, useLoaded, useTitle } from "../hooks";
import { Card, Empty, Loading, Problem, Table, When } from "../parts";
import { go, Link, path } from "../router";
import type { Diff, Fault, Pact, PactSummary, Replay, Visitor } from "../types";
import { Differences, ReplayResult } from "./review";

const NEW = "new";
const CHECK_AFTER_MILLIS = 250;

interface Template {
  name: string;
  document: unknown;
}

export function PactsView({ visitor }: { visitor: Visitor }) {
  useTitle("Pacts");
  const { data, failure } = useLoaded<{ pacts: PactSummary[] }>("pacts");
  return (
    <>
      <div class="heading">
        <h1>Pacts</h1>
        {visitor.scopes.includes("pacts:write") && (
          <Link to={path("pacts", NEW)} class="button">
            New pact
          </Link>
        )}
      </div>
      <Problem failure={failure} />
      {!data && !failure && <Loading />}
      {data?.pacts.length === 0 && <Empty>No pact yet.</Empty>}
      {data && data.pacts.length > 0 && (
        <Card title="In force">
          <Table label="Pacts in force">
            <thead>
              <tr>
                <th>Pact</th>
                <th class="right">Version</th>
                <th>Agent</th>
                <th>Since</th>
              </tr>
            </thead>
            <tbody>
              {data.pacts.map((one) => (
                <tr key={one.pactId}>
                  <td>
                    <Link to={path("pacts", one.pactId)}>{one.name}</Link>
                  </td>
                  <td class="right num">{one.version}</td>
                  <td>
                    {one.agentId ? <Link to={path("agents", one.agentId)}>{short(one.agentId)}</Link> : "any"}
                  </td>
                  <td>
                    <When at={one.createdAt} />
                  </td>
                </tr>
              ))}
            </tbody>
          </Table>
        </Card>
      )}
    </>
  );
}

export function PactView({ id, visitor }: { id: string; visitor: Visitor }) {
  return id === NEW ? <NewPact visitor={visitor} /> : <KnownPact id={id} visitor={visitor} />;
}

function NewPact({ visitor }: { visitor: Visitor }) {
  useTitle("New pact");
  const { data } = useLoaded<{ templates: Template[] }>("pact-templates");
  const [chosen, setChosen] = useState(0);
  const template = data?.templates[chosen];
  return (
    <>
      <div class="heading">
        <h1>New pact</h1>
        {data && (
          <label>
            From{" "}
            <select value={chosen} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
              {data.templates.map((one, n) => (
                <option key={one.name} value={n}>
                  {one.name}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {template ? (
        <Editor key={template.name} start={pretty(template.document)} visitor={visitor} />
      ) : (
        <Loading />
      )}
    </>
  );
}

function KnownPact({ id, visitor }: { id: string; visitor: Visitor }) {
  const pact = useLoaded<Pact>(`pacts/${encodeURIComponent(id)}`);
  const versions = useLoaded<{ versions: PactSummary[] }>(`pacts/${encodeURIComponent(id)}/versions`);
  const [said, setSaid] = useState("");
  useTitle(pact.data?.name ?? "Pact");
  if (pact.failure) return <Problem failure={pact.failure} />;
  if (!pact.data) return <Loading />;
  const done = (version: number) => {
    setSaid(`Version ${version} is in force.`);
    pact.reload();
    versions.reload();
  };
  return (
    <>
      <div class="heading">
        <h1>{pact.data.name}</h1>
        <span class="chip none">version {pact.data.version}</span>
      </div>
      {said && (
        <p class="said" role="status">
          {said}
        </p>
      )}
      <Editor
        key={pact.data.version}
        id={id}
        start={pretty(pact.data.document)}
        visitor={visitor}
        onDone={done}
      />
      <Card title="Versions">
        <Table label="Versions">
          <thead>
            <tr>
              <th class="right">Version</th>
              <th>Since</th>
              <th>By key</th>
              <th>Hash</th>
            </tr>
          </thead>
          <tbody>
            {versions.data?.versions
              .slice()
              .reverse()
              .map((one) => (
                <tr key={one.version}>
                  <td class="right num">{one.version}</td>
                  <td>
                    <When at={one.createdAt} />
                  </td>
                  <td>
                    <code>{one.createdBy}</code>
                  </td>
                  <td>
                    <code>{one.hash.slice(0, 16)}</code>
                  </td>
                </tr>
              ))}
          </tbody>
        </Table>
      </Card>
    </>
  );
}

interface EditorProps {
  id?: string;
  start: string;
  visitor: Visitor;
  onDone?: (version: number) => void;
}

interface Checked {
  valid: boolean;
  faults: Fault[];
}

function Editor({ id, start, visitor, onDone }: EditorProps) {
  const [text, setText] = useState(start);
  const [checked, setChecked] = useState<Checked & { text: string }>();
  const [diff, setDiff] = useState<Diff>();
  const [replay, setReplay] = useState<Replay>();
  const area = useRef<HTMLTextAreaElement>(null);
  const { busy, failure, run } = useAction();
  const changed = text !== start;

  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      send<Checked>("POST", "review/check", { text }).then(
        (found) => current && setChecked({ ...found, text }),
        () => {},
      );
    }, CHECK_AFTER_MILLIS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text]);

  const type = (value: string) => {
    setText(value);
    setDiff(undefined);
    setReplay(undefined);
  };
  const show = (fault: Fault) => {
    const field = area.current;
    if (!field) return;
    field.focus();
    field.setSelectionRange(fault.start, fault.end);
    const height = Number.parseFloat(getComputedStyle(field).lineHeight);
    field.scrollTop = Math.max(0, (fault.line - 4) * height);
  };
  const compare = () =>
    run(async () => setDiff(await send<Diff>("POST", "review/diff", { old: start, new: text })));
  const tryIt = () => run(async () => setReplay(await send<Replay>("POST", `review/replay/${id}`, { text })));
  const save = () =>
    run(async () => {
      const made = await send<Pact>("POST", id ? `pacts/${id}/versions` : "pacts", { text });
      if (id) onDone?.(made.version);
      else go(path("pacts", made.pactId));
    });
  const current = checked?.text === text ? checked : undefined;
  const good = current?.valid === true;
  return (
    <>
      <Card
        title="Document"
        aside={
          <span role="status" class={current ? (current.valid ? "ok" : "bad") : "muted"}>
            {current
              ? current.valid
                ? "A valid pact"
                : `${current.faults.length} fault${current.faults.length === 1 ? "" : "s"}`
              : "Checking…"}
          </span>
        }
      >
        <Text text={text} faults={current?.faults ?? []} area={area} onType={type} />
        {current && current.faults.length > 0 && (
          <ul class="faults">
            {current.faults.map((one) => (
              <li key={`${one.start} ${one.path} ${one.message}`}>
                <button type="button" class="quiet" onClick={() => show(one)}>
                  <span class="num">
                    {one.line}:{one.column}
                  </span>{" "}
                  {one.path && <code>{one.path}</code>} {one.message}
                </button>
              </li>
            ))}
          </ul>
        )}
        <div class="buttons">
          {id && (
            <>
              <button type="button" onClick={compare} disabled={!good || busy}>
                What changes
              </button>
              <button type="button" onClick={tryIt} disabled={!good || busy}>
                Replay 24 hours
              </button>
            </>
          )}
          {visitor.scopes.includes("pacts:write") && (
            <button
              type="button"
              class="primary"
              onClick={save}
              disabled={!good || busy || (id !== undefined && !changed)}
            >
              Put in force
            </button>
          )}
          {changed && (
            <button type="button" class="quiet" onClick={() => type(start)}>
              Undo all
            </button>
          )}
        </div>
        <Problem failure={failure} />
      </Card>
      {diff && (
        <Card title="What changes">
          <Differences of={diff} />
        </Card>
      )}
      {replay && (
        <Card title="The last 24 hours under it">
          <ReplayResult of={replay} />
        </Card>
      )}
    </>
  );
}

interface TextProps {
  text: string;
  faults: Fault[];
  area: { current: HTMLTextAreaElement | null };
  onType: (value: string) => void;
}

/** A text field with line numbers, and faults underlined at their places by a copy of the text behind it. */
function Text({ text, faults, area, onType }: TextProps) {
  const behind = useRef<HTMLPreElement>(null);
  const numbers = useRef<HTMLPreElement>(null);
  const lines = useMemo(
    () =>
      text
        .split("\n")
        .map((_, n) => n + 1)
        .join("\n"),
    [text],
  );
  const scroll = () => {
    const field = area.current;
    if (!field || !behind.current || !numbers.current) return;
    behind.current.scrollTop = field.scrollTop;
    behind.current.scrollLeft = field.scrollLeft;
    numbers.current.scrollTop = field.scrollTop;
  };
  return (
    <div class="editor">
      <pre class="numbers" aria-hidden="true" ref={numbers}>
        {lines}
      </pre>
      <div class="field">
        <pre class="behind" aria-hidden="true" ref={behind}>
          {marked(text, faults)}
        </pre>
        <textarea
          ref={area}
          aria-label="Pact as JSON"
          aria-invalid={faults.length > 0}
          spellcheck={false}
          autocapitalize="off"
          wrap="off"
          rows={24}
          value={text}
          onInput={(event) => onType(event.currentTarget.value)}
          onScroll={scroll}
        />
      </div>
    </div>
  );
}

function marked(text: string, faults: Fault[]) {
  const parts: preact.ComponentChildren[] = [];
  let at = 0;
  for (const one of faults) {
    if (one.start < at) continue;
    // A fault of a large part is marked at its beginning only.
    const end = Math.min(one.end, text.indexOf("\n", one.start) + 1 || one.end, one.start + 120);
    parts.push(
      text.slice(at, one.start),
      <mark key={one.start}>{text.slice(one.start, Math.max(end, one.start + 1))}</mark>,
    );
    at = Math.max(end, one.start + 1);
  }
  parts.push(text.slice(at), "\n");
  return parts;
}

function pretty(document: unknown): string {
  return JSON.stringify(document, null, 2);
}
