import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "./style.css";
import { Failure, get, send, whenSignedOut } from "./api";
import { useTitle } from "./hooks";
import { Field, Problem } from "./parts";
import { Link, path, usePlace } from "./router";
import type { Page, Visitor } from "./types";
import { AgentView } from "./views/agent";
import { AgentsView } from "./views/agents";
import { EventView } from "./views/event";
import { LedgerView } from "./views/ledger";
import { LiveView } from "./views/live";
import { PactsView, PactView } from "./views/pacts";
import { PagesView, PageView } from "./views/pages";
import { SessionView } from "./views/session";

const NAV: [string, string][] = [
  ["", "Live"],
  ["agents", "Agents"],
  ["pages", "Pages"],
  ["pacts", "Pacts"],
  ["ledger", "Ledger"],
];

function App() {
  const [visitor, setVisitor] = useState<Visitor | null | undefined>();
  const [failure, setFailure] = useState<Failure>();
  const [leaving, setLeaving] = useState<Failure>();
  useEffect(() => {
    whenSignedOut(() => setVisitor(null));
    get<Visitor | null>("session").then(setVisitor, setFailure);
  }, []);
  if (failure) return <Problem failure={failure} />;
  if (visitor === undefined) return null;
  const show = (next: Visitor | null, trouble?: Failure) => {
    setLeaving(trouble);
    setVisitor(next);
  };
  if (visitor === null) return <Login said={leaving} onLogin={show} />;
  return <Frame visitor={visitor} onLogout={(trouble) => show(null, trouble)} />;
}

function Login({ said, onLogin }: { said?: Failure; onLogin: (visitor: Visitor) => void }) {
  useTitle("Log in");
  const [key, setKey] = useState("");
  const [failure, setFailure] = useState<Failure>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setFailure(undefined);
    try {
      onLogin(await send<Visitor>("POST", "session", { key }));
    } catch (error) {
      setFailure(error instanceof Failure ? error : new Failure(0, String(error)));
    }
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <h1>
          <Mark /> Pactstream
        </h1>
        <p>Log in with an API key of your tenant. It needs the scope trust:private.</p>
        <Field label="API key">
          {(id) => (
            <input
              id={id}
              type="password"
              autoComplete="current-password"
              spellcheck={false}
              required
              value={key}
              onInput={(event) => setKey(event.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="primary">
          Log in
        </button>
        <Problem failure={failure ?? said} />
      </form>
    </main>
  );
}

function Mark() {
  return <img src="/console/assets/icon.svg" alt="" width="24" height="24" />;
}

function Frame({ visitor, onLogout }: { visitor: Visitor; onLogout: (trouble?: Failure) => void }) {
  const place = usePlace();
  const section = place.parts[0] ?? "";
  const [open, setOpen] = useState(0);
  useEffect(() => {
    const count = () =>
      get<{ pages: Page[] }>("pages", { status: "open" }).then(
        (found) => setOpen(found.pages.length),
        () => {},
      );
    count();
    const timer = setInterval(count, 5_000);
    return () => clearInterval(timer);
  }, [place]);
  const logout = () => send<void>("DELETE", "session").then(() => onLogout(), onLogout);
  const under: Record<string, string> = { events: "", sessions: "agents" };
  const current = under[section] ?? section;
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <Link to={path()} class="brand">
          <Mark /> <span>Pactstream</span>
        </Link>
        <nav aria-label="Views">
          {NAV.map(([to, name]) => (
            <Link key={to} to={to ? path(to) : path()} aria-current={current === to ? "page" : undefined}>
              {name}
              {to === "pages" && open > 0 && (
                <span class="badge" title={`${open} open`}>
                  {open}
                </span>
              )}
            </Link>
          ))}
        </nav>
        <div class="who">
          <span title={`key ${visitor.keyId}`}>
            {visitor.tenant} <small>{visitor.key}</small>
          </span>
          <button type="button" class="quiet" onClick={logout}>
            Log out
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <View parts={place.parts} query={place.query} visitor={visitor} />
      </main>
    </>
  );
}

function View({ parts, query, visitor }: { parts: string[]; query: URLSearchParams; visitor: Visitor }) {
  const [section = "", id, more] = parts;
  if (section === "") return <LiveView query={query} />;
  if (section === "events" && id) return <EventView key={id} id={id} />;
  if (section === "sessions" && id && more)
    return <SessionView key={`${id}/${more}`} agent={id} session={more} />;
  if (section === "agents")
    return id ? <AgentView key={id} id={id} query={query} visitor={visitor} /> : <AgentsView />;
  if (section === "pages")
    return id ? <PageView key={id} id={id} visitor={visitor} /> : <PagesView query={query} />;
  if (section === "pacts")
    return id ? <PactView key={id} id={id} visitor={visitor} /> : <PactsView visitor={visitor} />;
  if (section === "ledger") return <LedgerView query={query} />;
  return <NotHere />;
}

function NotHere() {
  useTitle("Not found");
  return (
    <>
      <h1>There is nothing here</h1>
      <p>
        <Link to={path()}>To the live stream</Link>
      </p>
    </>
  );
}

const root = document.getElementById("app");
if (root) render(<App />, root);
