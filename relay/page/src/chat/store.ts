/** Something that changes and can be watched. */

export class Store {
  private readonly watchers = new Set<() => void>();
  /** Rises with each change. */
  version = 0;

  subscribe(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  protected emit(): void {
    this.version += 1;
    for (const watcher of [...this.watchers]) watcher();
  }
}
