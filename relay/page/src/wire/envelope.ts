/**
 * End-to-end encryption as token.place peers do it: a 32-byte AES key is base64-encoded, the 44
 * characters are wrapped with RSA, and the message is AES-256-CBC with PKCS#7 under a random IV.
 */

import { fromBase64, fromUtf8, toBase64, toUtf8 } from "./encoding";
import type { Bytes } from "./encoding";
import { wrapFor } from "./keys";
import type { ClientKeys } from "./keys";

export const PROTOCOL = "tokenplace_api_v1_relay_e2ee";
export const VERSION = 1;

export interface Sealed {
  ciphertext: string;
  cipherkey: string;
  iv: string;
}

export type Json = { [name: string]: unknown };

/** An envelope that cannot be decrypted: it is for another key, or was modified. */
export class Unreadable extends Error {}

/** An envelope that opens, but is about another request, client or protocol. */
export class WrongIdentity extends Error {
  constructor(readonly field: string) {
    super(`the envelope has another ${field}`);
  }
}

export async function seal(inner: Json, node: string): Promise<Sealed> {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const iv = crypto.getRandomValues(new Uint8Array(16));
  const wrapped = await wrapFor(node, toUtf8(toBase64(key)));
  const aes = await crypto.subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]);
  const plain = toUtf8(JSON.stringify(inner));
  const body = await crypto.subtle.encrypt({ name: "AES-CBC", iv }, aes, plain);
  const texts = [new Uint8Array(body), wrapped, iv].map(toBase64);
  return { ciphertext: texts[0]!, cipherkey: texts[1]!, iv: texts[2]! };
}

/**
 * Open an answer or a progress note and check that it is about this request.
 *
 * Every way to fail before the message is read looks the same from outside (Unreadable), and
 * a failure ends the request: a relay that plays with envelopes learns next to nothing.
 */
export async function open(given: Json, keys: ClientKeys, requestId: string): Promise<Json> {
  // Outside, the relay may leave protocol and version out; inside, nothing may be missing.
  checkHeader({ protocol: PROTOCOL, version: VERSION, ...given }, keys.wire, requestId, "outer");
  const inner = await decrypt(sealedOf(given), keys);
  checkHeader(inner, keys.wire, requestId, "inner");
  return inner;
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields of every envelope of one request, inside and outside. */
export function header(requestId: string, client: string): Json {
  return {
    protocol: PROTOCOL,
    version: VERSION,
    request_id: requestId,
    client_public_key: client,
  };
}

function checkHeader(given: Json, client: string, requestId: string, where: string): void {
  for (const [name, wanted] of Object.entries(header(requestId, client))) {
    if (given[name] !== wanted) throw new WrongIdentity(`${where} ${name}`);
  }
}

function sealedOf(given: Json): Sealed {
  const ciphertext = given["ciphertext"] ?? given["chat_history"];
  const { cipherkey, iv } = given;
  const texts = [ciphertext, cipherkey, iv];
  if (!texts.every((text) => typeof text === "string")) throw new Unreadable("incomplete");
  return { ciphertext, cipherkey, iv } as Sealed;
}

async function decrypt(sealed: Sealed, keys: ClientKeys): Promise<Json> {
  try {
    const raw = fromBase64(fromUtf8(keys.unwrap(fromBase64(sealed.cipherkey))));
    if (raw.length !== 32) throw new Unreadable("key");
    const aes = await crypto.subtle.importKey("raw", raw, "AES-CBC", false, ["decrypt"]);
    const algorithm = { name: "AES-CBC", iv: fromBase64(sealed.iv) };
    const body: Bytes = fromBase64(sealed.ciphertext);
    const plain = await crypto.subtle.decrypt(algorithm, aes, body);
    const inner: unknown = JSON.parse(fromUtf8(new Uint8Array(plain)));
    if (isObject(inner)) return inner;
  } catch {
    // One error for every reason.
  }
  throw new Unreadable("the envelope is for another key, or was modified");
}
