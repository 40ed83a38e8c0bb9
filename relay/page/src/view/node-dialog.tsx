import { useEffect, useRef, useState } from "preact/hooks";

import type { NodeRef } from "../chat/answer";
import { CopyButton } from "./code";
import { Icon } from "./icons";

/** The compute node's fingerprint, to be seen and compared. */
export function NodeDialog({ node, close }: { node: NodeRef | null; close(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [given, setGiven] = useState("");
  useEffect(() => {
    if (node) dialog.current?.showModal();
    else dialog.current?.close();
    setGiven("");
  }, [node]);
  const verdict = node ? compare(node.fingerprint, given) : "";
  return (
    <dialog ref={dialog} aria-labelledby="node-title" onClose={close}>
      {node && (
        <>
          <div class="dialog-head">
            <h2 id="node-title">The compute node that can read this</h2>
            <button type="button" class="quiet" onClick={close} aria-label="Close"><Icon name="close" /></button>
          </div>
          <p>
            Your question was sealed to the key with this fingerprint. Ask the node's owner, by another way
            than this relay, whether it is theirs.
          </p>
          <p class="print"><code>{grouped(node.fingerprint)}</code></p>
          <div class="under"><CopyButton text={node.fingerprint} label="Copy fingerprint" /></div>
          <label for="compare">Compare with a fingerprint that you were given</label>
          <input
            id="compare" value={given} autocomplete="off" spellcheck={false}
            onInput={(event) => setGiven(event.currentTarget.value)}
          />
          <p class={`verdict ${verdict && (verdict.startsWith("Same") ? "same" : "other")}`} role="status">{verdict}</p>
          <details>
            <summary>How its owner finds it</summary>
            <p>It is the SHA-256 of the public key as the node sends it: base64 of the PEM file.</p>
            <pre tabIndex={0}><code>base64 -w0 public_key.pem | sha256sum</code></pre>
            <p>The relay's log shows its first 12 digits.</p>
          </details>
        </>
      )}
    </dialog>
  );
}

export function compare(fingerprint: string, given: string): string {
  const plain = given.toLowerCase().replace(/[^0-9a-z]/g, "");
  if (!plain) return "";
  if (plain === fingerprint) return "Same: all 64 digits agree.";
  if (plain.length < 12) return "Enter at least 12 digits.";
  if (fingerprint.startsWith(plain)) return `Same in the ${plain.length} digits that you gave.`;
  return "Different: this is not the node that you expected.";
}

function grouped(hex: string): string {
  return (hex.match(/.{4}/g) ?? []).join(" ");
}
