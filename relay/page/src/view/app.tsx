import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { NodeRef } from "../chat/answer";
import type { Chat, Turn } from "../chat/chat";
import { explain, Problem } from "../chat/problem";
import type { Settings } from "../chat/settings";
import type { RelayStatus } from "../chat/status";
import { fileName, transcript } from "../chat/transcript";
import type { RelayApi } from "../wire/relay";
import { Announcer } from "./announcer";
import { Composer } from "./composer";
import { Connect } from "./connect";
import { Header } from "./header";
import { useStore, useView } from "./hooks";
import { How } from "./how";
import { Icon } from "./icons";
import { NodeDialog } from "./node-dialog";
import { TurnView } from "./turn";
import { Welcome } from "./welcome";

interface Props {
  api: RelayApi;
  chat: Chat;
  settings: Settings;
  status: RelayStatus;
  secure: boolean;
}

export function App({ api, chat, settings, status, secure }: Props) {
  useStore(chat);
  useStore(settings);
  useStore(status);
  const view = useView();
  const last = chat.turns.at(-1);
  const [node, showNode] = useState<NodeRef | null>(null);
  useEscape(() => chat.stop(), chat.running && !node);
  const atEnd = view !== "how" && view !== "connect" && chat.turns.length > 0;
  useLayoutEffect(() => window.scrollTo(0, atEnd ? document.documentElement.scrollHeight : 0), [view]);
  return (
    <>
      <Skip view={view} />
      <Header status={status} settings={settings} view={view} />
      <main id="main" tabIndex={-1}>
        {view === "how" && <How />}
        {view === "connect" && <Connect origin={location.origin} />}
        {view !== "how" && view !== "connect" && (
          <div class="chat">
            <h1 class="hidden">Chat</h1>
            {chat.turns.length === 0 && <Welcome pick={(text) => { settings.setDraft(text); toDraft(); }} />}
            <Turns chat={chat} settings={settings} showNode={showNode} />
            <div class="dock">
              {!secure && <Insecure />}
              <Composer chat={chat} settings={settings} status={status} quota={api.quota} disabled={!secure}>
                {chat.turns.length > 0 && <Tools chat={chat} />}
              </Composer>
            </div>
          </div>
        )}
      </main>
      <Announcer turn={last} />
      <NodeDialog node={node} close={() => showNode(null)} />
    </>
  );
}

/** The first thing that the Tab key reaches. */
function Skip({ view }: { view: string }) {
  if (view !== "how" && view !== "connect") {
    return <a class="skip" href="#draft" onClick={toDraft}>To the question box</a>;
  }
  const toMain = (event: Event): void => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  };
  return <a class="skip" href="#main" onClick={toMain}>To the text</a>;
}

function Turns({ chat, settings, showNode }: { chat: Chat; settings: Settings; showNode(node: NodeRef): void }) {
  const last = chat.turns.at(-1);
  const list = useFollow(last);
  if (!last) return null;
  const actions = {
    retry: () => void chat.retry(settings.model, settings.tier),
    edit: () => { settings.setDraft(chat.takeBack()); toDraft(); },
    showNode: (turn: Turn) => { if (turn.answer) showNode(turn.answer.node); },
  };
  return (
    <ol class="turns" aria-label="Conversation" ref={list}>
      {chat.turns.map((turn) => (
        <TurnView key={turn.id} turn={turn} last={turn === last} actions={actions} />
      ))}
    </ol>
  );
}

/** Keep the newest turn in sight, unless the person has scrolled away to read. */
function useFollow(last: Turn | undefined): RefObject<HTMLOListElement> {
  const list = useRef<HTMLOListElement>(null);
  const follows = useRef(true);
  useEffect(() => {
    const look = (): void => {
      const page = document.documentElement;
      follows.current = page.scrollHeight - window.innerHeight - window.scrollY < 160;
    };
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  useEffect(() => {
    if (last?.state === "running" && last.phase === null) follows.current = true;
    if (follows.current) list.current?.lastElementChild?.scrollIntoView({ block: "start" });
  }, [last?.id, last?.state, last?.phase?.name, last?.notices.length]);
  return list;
}

function Tools({ chat }: { chat: Chat }) {
  const startOver = (): void => {
    const unsaved = "Start a new conversation? This one is then deleted: it is stored nowhere else.";
    if (confirm(unsaved)) chat.startOver();
    toDraft();
  };
  return (
    <div class="tools">
      <button type="button" class="quiet" onClick={startOver} disabled={chat.running}>
        <Icon name="fresh" /><span>New conversation</span>
      </button>
      <button type="button" class="quiet" onClick={() => save(chat)}>
        <Icon name="save" /><span>Save as file</span>
      </button>
    </div>
  );
}

function Insecure() {
  const { what, todo } = explain(new Problem("insecure"));
  return (
    <p class="failure" role="alert">
      <strong>{what}</strong> {todo}{" "}
      <a href={location.href.replace(/^http:/, "https:")}>Open it with HTTPS</a>
    </p>
  );
}

function save(chat: Chat): void {
  const now = new Date();
  const blob = new Blob([transcript(chat.turns, location.origin, now)], { type: "text/markdown" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName(now);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function toDraft(event?: Event): void {
  event?.preventDefault();
  requestAnimationFrame(() => document.getElementById("draft")?.focus());
}

function useEscape(act: () => void, active: boolean): void {
  useEffect(() => {
    if (!active) return undefined;
    const onKey = (event: KeyboardEvent): void => { if (event.key === "Escape") act(); };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [active]);
}
