import { useEffect, useReducer, useState } from "preact/hooks";

import type { Store } from "../chat/store";

/** Draw again when a store changes. */
export function useStore<T extends Store>(store: T): T {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => store.subscribe(() => draw(undefined)), [store]);
  return store;
}

/** The time, once a second while something waits for it. */
export function useNow(active: boolean): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    if (!active) return undefined;
    set(Date.now());
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [active]);
  return now;
}

/** The part of the page that the address names. */
export function useView(): string {
  const [view, set] = useState(location.hash.slice(1) || "chat");
  useEffect(() => {
    const read = (): void => set(location.hash.slice(1) || "chat");
    window.addEventListener("hashchange", read);
    return () => window.removeEventListener("hashchange", read);
  }, []);
  return view;
}
