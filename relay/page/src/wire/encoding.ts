/** Bytes to the texts that the protocol carries, and back. */

const CHUNK = 0x8000;

export type Bytes = Uint8Array<ArrayBuffer>;

export function toBase64(bytes: Uint8Array): string {
  return btoa(toBinary(bytes));
}

/** Throws for what is not strict base64. */
export function fromBase64(text: string): Bytes {
  return fromBinary(atob(text));
}

export function toUtf8(text: string): Bytes {
  return new TextEncoder().encode(text) as Bytes;
}

/** Throws for what is not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
}

/** One character for each byte, as older libraries want it. */
export function toBinary(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK)));
  }
  return parts.join("");
}

export function fromBinary(text: string): Bytes {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** An id or a token: 32 hex digits, as the page of token.place makes them. */
export function randomId(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}
