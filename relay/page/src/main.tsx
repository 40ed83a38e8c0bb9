/** Puts the page together. */

import { render } from "preact";

import { Chat } from "./chat/chat";
import { BrowserClock } from "./chat/clock";
import { Settings } from "./chat/settings";
import { EVERY_MS, RelayStatus } from "./chat/status";
import { App } from "./view/app";
import { RelayApi } from "./wire/relay";

const api = new RelayApi((url, init) => fetch(url, init), window);
const clock = new BrowserClock();
const chat = new Chat(api, clock);
const settings = new Settings();
const isVisible = (): boolean => document.visibilityState === "visible";
const status = new RelayStatus(api, () => performance.now(), isVisible);
const secure = Boolean(globalThis.crypto?.subtle);

function paint(): void {
  document.documentElement.dataset["theme"] = settings.theme;
}

/** Show in the title that an answer arrived while the tab was hidden. */
function showInTitle(): void {
  const ready = !isVisible() && !chat.running && chat.turns.at(-1)?.answer;
  document.title = ready ? "Answer ready · token.place relay" : "token.place relay";
}

settings.subscribe(paint);
paint();
chat.subscribe(showInTitle);
status.subscribe(() => chat.hear((fingerprint) => status.isSilent(fingerprint)));
document.addEventListener("visibilitychange", () => {
  showInTitle();
  void status.look();
});
window.addEventListener("online", () => void status.look());
setInterval(() => void status.look(), EVERY_MS);
void status.look();

window.addEventListener("pagehide", (event) => {
  if (!event.persisted) chat.abandon();
});
window.addEventListener("beforeunload", (event) => {
  if (chat.turns.length > 0) event.preventDefault();
});

render(<App api={api} chat={chat} settings={settings} status={status} secure={secure} />, document.body);
