/** Asking the console's own server; nothing else is ever asked. */

export class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: { path: string; message: string }[] = [],
  ) {
    super(message);
  }
}

type Listener = () => void;
let onSignedOut: Listener = () => {};

/** What to do when the server says that the session is over. */
export function whenSignedOut(listener: Listener): void {
  onSignedOut = listener;
}

let held = false;
let over = false;

/** The session is over: leave, unless something is shown that would be lost. */
export function signedOut(): void {
  if (held) over = true;
  else onSignedOut();
}

/** Stay where we are until `release`, even if the session ends meanwhile. */
export function hold(): () => void {
  held = true;
  return function release() {
    held = false;
    if (over) onSignedOut();
    over = false;
  };
}

const BASE = "/console/api";

export function url(path: string, query: Record<string, string | number | undefined> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `${BASE}/${path}${search ? `?${search}` : ""}`;
}

async function ask(method: string, path: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  if (method !== "GET") headers["X-Console"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path.startsWith(BASE) ? path : `${BASE}/${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new Failure(0, "The console does not answer. Is the connection up?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  if (response.status === 401 && method + path !== "POSTsession") signedOut();
  throw new Failure(
    response.status,
    said.error ?? `The server answers ${response.status}.`,
    said.details ?? [],
  );
}

export async function get<T>(path: string, query?: Record<string, string | number | undefined>): Promise<T> {
  return (await ask("GET", url(path, query))).json();
}

export async function getText(path: string): Promise<string> {
  return (await ask("GET", path)).text();
}

export async function send<T>(method: "POST" | "DELETE", path: string, body?: unknown): Promise<T> {
  const response = await ask(method, path, body);
  return response.status === 204 ? (undefined as T) : response.json();
}
