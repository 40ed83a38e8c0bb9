import type { Settings, Theme } from "../chat/settings";
import type { RelayStatus } from "../chat/status";
import { Icon, Mark } from "./icons";

const VIEWS = [
  { id: "chat", name: "Chat" },
  { id: "how", name: "What it sees" },
  { id: "connect", name: "Connect" },
];
const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };

export function Header({ status, settings, view }: { status: RelayStatus; settings: Settings; view: string }) {
  const current = VIEWS.some((one) => one.id === view) ? view : "chat";
  return (
    <header>
      <a class="brand" href="#chat"><Mark /><span>token.place<small> relay</small></span></a>
      <nav aria-label="Parts of this page">
        {VIEWS.map(({ id, name }) => (
          <a href={`#${id}`} aria-current={id === current ? "page" : undefined}>{name}</a>
        ))}
      </nav>
      <StatusPill status={status} />
      <button
        type="button" class="quiet theme" onClick={() => settings.setTheme(NEXT[settings.theme])}
        aria-label={`Colours: ${settings.theme}. Change to ${NEXT[settings.theme]}`}
      >
        <Icon name={settings.theme} />
      </button>
    </header>
  );
}

function StatusPill({ status }: { status: RelayStatus }) {
  const [kind, text] = words(status);
  return (
    <a class={`pill ${kind}`} href="/healthz" title={status.release ? `Release ${status.release}` : "Health of this relay"}>
      <span class="dot" aria-hidden="true" />
      <span>{text}</span>
    </a>
  );
}

export function words(status: RelayStatus): [kind: string, text: string] {
  if (status.reach === "offline") return ["bad", "Relay not reached"];
  if (status.reach === "draining") return ["warn", "Relay is being replaced"];
  if (status.nodes === null) return ["", "Looking for nodes"];
  if (status.nodes === 0) return ["warn", "No compute node"];
  return ["good", `${status.nodes} ${status.nodes === 1 ? "node serves" : "nodes serve"}`];
}
