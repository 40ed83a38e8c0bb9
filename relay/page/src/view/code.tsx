import { useState } from "preact/hooks";

import { Icon } from "./icons";

/** A button that copies, and says that it did. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [said, say] = useState("");
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
    <button type="button" class="quiet" onClick={() => void copy()} aria-label={said || label}>
      <Icon name={said === "Copied" ? "done" : "copy"} />
      <span aria-live="polite">{said || "Copy"}</span>
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
