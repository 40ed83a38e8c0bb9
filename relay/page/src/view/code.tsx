import { useState } from "preact/hooks";

import { Icon } from "./icons";

/** A button that copies a text and confirms it. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [status, say] = useState("");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("The browser did not allow it");
    }
    setTimeout(() => say(""), 2000);
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()} aria-label={status || label}>
      <Icon name={status === "Copied" ? "done" : "copy"} />
      <span aria-live="polite">{status || "Copy"}</span>
    </button>
  );
}

export function CodeBlock({ text, language }: { text: string; language: string }) {
  const name = language.split(/\s/)[0]!.slice(0, 30);
  return (
    <figure class="code">
      <figcaption>
        <span>{name || "code"}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      <pre tabIndex={0} aria-label={`Code${name ? ` in ${name}` : ""}`}><code>{text}</code></pre>
    </figure>
  );
}
