/** The browser's storage: choices permanently, the draft until the tab is closed. */

import { Store } from "./store";
import type { TierChoice } from "./limits";

export type Theme = "auto" | "light" | "dark";
export const DEFAULT_MODEL = "qwen3-8b-instruct";

const PREFIX = "token.place.";
const TIER_CHOICES = ["auto", "8k-fast", "64k-full"];
const THEMES = ["auto", "light", "dark"];

export class Settings extends Store {
  model = read(localStorage, "model") || DEFAULT_MODEL;
  tier = oneOf(TIER_CHOICES, read(localStorage, "tier")) as TierChoice;
  theme = oneOf(THEMES, read(localStorage, "theme")) as Theme;
  draft = read(sessionStorage, "draft");

  setModel(model: string): void {
    this.model = model;
    this.keep(localStorage, "model", model);
  }

  setTier(tier: TierChoice): void {
    this.tier = tier;
    this.keep(localStorage, "tier", tier);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.keep(localStorage, "theme", theme);
  }

  setDraft(draft: string): void {
    this.draft = draft;
    this.keep(sessionStorage, "draft", draft);
  }

  private keep(where: Storage, name: string, value: string): void {
    try {
      where.setItem(PREFIX + name, value);
    } catch {
      // A full or forbidden store: the choice holds until the page is closed.
    }
    this.emit();
  }
}

function read(where: Storage, name: string): string {
  try {
    return where.getItem(PREFIX + name) ?? "";
  } catch {
    return "";
  }
}

function oneOf(allowed: string[], value: string): string {
  return allowed.includes(value) ? value : allowed[0]!;
}
