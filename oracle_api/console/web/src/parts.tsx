/** Small pieces that every view uses. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import type { Failure } from "./api";
import { dateTime, ruleText, short, typeText } from "./format";
import { Link, path } from "./router";
import type { Event, Violation } from "./types";

export function Verdict({ event }: { event: Pick<Event, "valid" | "severity" | "bound" | "type"> }) {
  if (event.valid === false)
    return <span class={`chip ${event.severity || "critical"}`}>{event.severity || "violated"}</span>;
  if (event.severity) return <span class={`chip ${event.severity}`}>{event.severity}</span>;
  if (event.valid === true && event.bound) return <span class="chip good">valid</span>;
  return event.type === "tool_call" ? <span class="chip none">not bound</span> : null;
}

export function Severity({ of }: { of: string }) {
  return <span class={`chip ${of || "none"}`}>{of || "none"}</span>;
}

export function Rules({ of, omitted = 0 }: { of: Violation[]; omitted?: number }) {
  return (
    <ul class="rules">
      {of.map((one) => (
        <li key={`${one.paramPath} ${one.rule}`}>
          {one.paramPath && <code>{one.paramPath}</code>} {ruleText(one.rule)}
        </li>
      ))}
      {omitted > 0 && <li>and {omitted} more</li>}
    </ul>
  );
}

export function what(event: Event): string {
  return event.type === "tool_call" || event.type === "tool_call.violation"
    ? event.tool || typeText(event.type)
    : typeText(event.type);
}

export function When({ at }: { at: string }) {
  return (
    <time dateTime={at} class="num" title={at}>
      {dateTime(at)}
    </time>
  );
}

export function SessionLink({ agent, session }: { agent: string; session: string }) {
  return <Link to={path("sessions", agent, session)}>{session}</Link>;
}

export function EventLink({ id, children }: { id: string; children?: ComponentChildren }) {
  return (
    <Link to={path("events", id)} class="mono">
      {children ?? short(id)}
    </Link>
  );
}

export function Problem({ failure }: { failure: Failure | undefined }) {
  if (!failure) return null;
  return (
    <div class="problem" role="alert">
      <strong>{failure.message}</strong>
      {failure.details.length > 0 && (
        <ul>
          {failure.details.map((one) => (
            <li key={one.path + one.message}>
              <code>{one.path || "document"}</code> {one.message}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function Loading() {
  return (
    <p class="empty" role="status">
      Loading…
    </p>
  );
}

interface CardProps {
  title: ComponentChildren;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

export function Card({ title, aside, children, class: extra = "" }: CardProps) {
  const id = useId();
  return (
    <section class={`card ${extra}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside && <div class="aside">{aside}</div>}
      </header>
      {children}
    </section>
  );
}

export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section class="scroll" aria-label={label} tabIndex={0}>
      <table>{children}</table>
    </section>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog: the browser keeps the focus inside and closes it by Escape. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose}>
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" class="quiet" onClick={() => dialog.current?.close()} aria-label="Close">
          ✕
        </button>
      </header>
      {children}
    </dialog>
  );
}

interface FieldProps {
  label: string;
  children: (id: string) => ComponentChildren;
  hint?: string;
}

export function Field({ label, hint, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id)}
      {hint && <small>{hint}</small>}
    </div>
  );
}

export function State({ of }: { of: string }) {
  const tone = of === "active" ? "good" : of === "paused" ? "major" : "critical";
  return <span class={`chip ${tone}`}>{of}</span>;
}
