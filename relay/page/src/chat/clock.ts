/** Time, as far as an exchange needs it; tests bring one of their own. */

export interface Clock {
  /** Milliseconds; runs on while the machine sleeps. */
  now(): number;
  /** Ends early when `wake` is called or the signal aborts; never throws. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** The browser's clock. A tab or network that comes back ends all sleeps at once. */
export class BrowserClock implements Clock {
  private readonly sleepers = new Set<() => void>();

  constructor() {
    const wake = (): void => this.wake();
    window.addEventListener("online", wake);
    document.addEventListener("resume", wake);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
    });
  }

  now(): number {
    return Date.now();
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.sleepers.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.sleepers.add(done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }

  wake(): void {
    for (const done of [...this.sleepers]) done();
  }
}
