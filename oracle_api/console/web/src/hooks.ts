import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Failure, get, signedOut, url } from "./api";
import type { Event } from "./types";

export interface Loaded<T> {
  data: T | undefined;
  failure: Failure | undefined;
  loading: boolean;
  reload: () => void;
}

/** Load from the server, again whenever the address or the query changes, and every so often; `null`: nothing. */
export function useLoaded<T>(
  path: string | null,
  query: Record<string, string | number | undefined> = {},
  everyMillis = 0,
): Loaded<T> {
  const [data, setData] = useState<T>();
  const [failure, setFailure] = useState<Failure>();
  const [loading, setLoading] = useState(path !== null);
  const [turn, setTurn] = useState(0);
  const key = path === null ? "" : url(path, query);
  const shown = useRef("");
  useEffect(() => {
    if (path === null) return;
    let current = true;
    if (shown.current.split("?")[0] !== key.split("?")[0]) setData(undefined);
    shown.current = key;
    setLoading(true);
    get<T>(path, query).then(
      (found) => {
        if (!current) return;
        setData(found);
        setFailure(undefined);
        setLoading(false);
      },
      (error: Failure) => {
        if (!current) return;
        setFailure(error);
        setLoading(false);
      },
    );
    return () => {
      current = false;
    };
  }, [key, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  useEffect(() => {
    if (!everyMillis) return;
    const timer = setInterval(() => document.hidden || reload(), everyMillis);
    return () => clearInterval(timer);
  }, [everyMillis, reload]);
  return { data, failure, loading, reload };
}

export type Connection = "connecting" | "live" | "lost";

/** Follow new events as they are sealed. */
export function useStream(
  query: Record<string, string>,
  onEvents: (events: Event[]) => void,
  onMissed: (count: number) => void,
  onReopened: () => void,
): Connection {
  const [state, setState] = useState<Connection>("connecting");
  const handlers = useRef({ onEvents, onMissed, onReopened });
  handlers.current = { onEvents, onMissed, onReopened };
  const key = url("events/stream", query);
  useEffect(() => {
    const source = new EventSource(key);
    let opened = 0;
    source.addEventListener("open", () => {
      setState("live");
      opened += 1;
      if (opened > 1) handlers.current.onReopened();
    });
    source.addEventListener("error", () => {
      setState("lost");
      // A stream that was refused is not tried again by the browser: find out why.
      if (source.readyState === EventSource.CLOSED) get("agents").catch(() => {});
    });
    source.addEventListener("events", (event) => handlers.current.onEvents(JSON.parse(event.data)));
    source.addEventListener("missed", (event) => handlers.current.onMissed(Number(event.data)));
    source.addEventListener("over", () => {
      source.close();
      signedOut();
    });
    return () => source.close();
  }, [key]);
  return state;
}

/** Run something and say what became of it. */
export function useAction(): {
  busy: boolean;
  failure: Failure | undefined;
  run: (act: () => Promise<void>) => Promise<void>;
} {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const run = async (act: () => Promise<void>) => {
    setBusy(true);
    setFailure(undefined);
    try {
      await act();
    } catch (error) {
      setFailure(error instanceof Failure ? error : new Failure(0, String(error)));
    } finally {
      setBusy(false);
    }
  };
  return { busy, failure, run };
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Pactstream`;
  }, [title]);
}
