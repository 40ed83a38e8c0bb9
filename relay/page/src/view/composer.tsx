import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Chat } from "../chat/chat";
import { lengthWarning, sizeOf, TIERS } from "../chat/limits";
import type { TierChoice } from "../chat/limits";
import { duration } from "../chat/problem";
import type { Settings } from "../chat/settings";
import type { RelayStatus } from "../chat/status";
import type { Quota } from "../wire/relay";
import { Icon } from "./icons";

interface Props {
  chat: Chat;
  settings: Settings;
  status: RelayStatus;
  quota: Quota | null;
  disabled: boolean;
  children?: ComponentChildren;
}

export function Composer({ chat, settings, status, quota, disabled, children }: Props) {
  const box = useRef<HTMLTextAreaElement>(null);
  const size = sizeOf([...chat.history(), { role: "user", content: settings.draft }]);
  const warning = lengthWarning(settings.tier, size);
  const ready = !disabled && !chat.running && settings.draft.trim() !== "" && warning?.level !== "stop";
  useEffect(() => grow(box.current), [settings.draft]);

  const send = (): void => {
    if (!ready) return;
    const question = settings.draft.trim();
    settings.setDraft("");
    void chat.ask(question, settings.model, settings.tier);
    box.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  };

  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      <label class="hidden" for="draft">Your question</label>
      <textarea
        id="draft" ref={box} rows={1} value={settings.draft} disabled={disabled}
        placeholder="Ask. Only the node can read it."
        aria-describedby="hints" autocomplete="off"
        onInput={(event) => settings.setDraft(event.currentTarget.value)}
        onFocus={() => { if (!disabled) chat.prepare(); }} onKeyDown={onKeyDown}
      />
      <div class="controls">
        <Choices settings={settings} status={status} />
        {chat.running ? (
          <button type="button" class="main stop" onClick={() => chat.stop()}>
            <Icon name="stop" /><span>Stop</span>
          </button>
        ) : (
          <button type="submit" class="main" disabled={!ready}>
            <Icon name="send" /><span>Send</span>
          </button>
        )}
      </div>
      <div class="foot">
        <p id="hints" class="hints">
          {warning && <span class={warning.level} role="status">{warning.text}</span>}
          {quotaText(quota) && <span class="warn">{quotaText(quota)}</span>}
          {!warning && <span class="keys">Enter sends, Shift + Enter begins a line{chat.running ? ", Esc stops" : ""}.</span>}
        </p>
        {children}
      </div>
    </form>
  );
}

function Choices({ settings, status }: { settings: Settings; status: RelayStatus }) {
  const models = [...new Set([...status.models, settings.model])];
  const label = (model: string): string => {
    const count = status.serving(model, "8k-fast");
    return count === null || status.nodes === 0 ? model : `${model} (${count} ${count === 1 ? "node" : "nodes"})`;
  };
  return (
    <div class="choices">
      <select
        aria-label="Model" value={settings.model}
        onChange={(event) => settings.setModel(event.currentTarget.value)}
      >
        {models.map((one) => <option value={one}>{label(one)}</option>)}
      </select>
      <select
        aria-label="Context size" value={settings.tier}
        onChange={(event) => settings.setTier(event.currentTarget.value as TierChoice)}
      >
        <option value="auto">Auto context</option>
        {TIERS.map((one) => <option value={one.id}>{one.name}</option>)}
      </select>
    </div>
  );
}

/** The remaining quota, shown when less than a fifth is left. */
export function quotaText(quota: Quota | null): string {
  if (!quota || quota.remaining > Math.max(3, (quota.limit ?? 15) / 5)) return "";
  const until = quota.resetSeconds === null ? "" : ` in the next ${duration(quota.resetSeconds)}`;
  if (quota.remaining === 0) return `The relay takes no more questions from your address${until}.`;
  return `The relay takes ${quota.remaining} more ${quota.remaining === 1 ? "question" : "questions"} from your address${until}.`;
}

function grow(box: HTMLTextAreaElement | null): void {
  if (!box) return;
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 240)}px`;
}
