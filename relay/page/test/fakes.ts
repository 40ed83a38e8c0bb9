/** A relay, a clock and a compute node for tests, in one process. */

import { fromBase64, fromUtf8, toBase64, toUtf8 } from "../src/wire/encoding";
import type { Bytes } from "../src/wire/encoding";
import { header } from "../src/wire/envelope";
import type { Json, Sealed } from "../src/wire/envelope";
import { RelayApi } from "../src/wire/relay";
import type { Clock } from "../src/chat/clock";

/** Sleeping advances the time without waiting, and yields to pending network calls. */
export class FakeClock implements Clock {
  time = 1_000_000;
  slept: number[] = [];

  now(): number {
    return this.time;
  }

  async sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!signal.aborted) {
      this.slept.push(milliseconds);
      this.time += milliseconds;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

export type Handler = (body: Json, url: URL) => Response | Promise<Response>;

/** Routes by the end of the path; a route that is missing is a broken network. */
export class FakeRelay {
  readonly calls: { route: string; body: Json }[] = [];
  readonly api: RelayApi;

  constructor(public routes: Record<string, Handler>) {
    this.api = new RelayApi(async (path, init) => {
      const url = new URL(path, "http://relay.test");
      const body = init.body ? (JSON.parse(String(init.body)) as Json) : {};
      const route = Object.keys(this.routes).find((name) => url.pathname.endsWith(name)) ?? "";
      this.calls.push({ route, body });
      const handler = this.routes[route];
      if (!handler) throw new TypeError("Failed to fetch");
      return handler(body, url);
    });
  }

  count(route: string): number {
    return this.calls.filter((one) => one.route === route).length;
  }
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers });
}

export function refusal(status: number, code: string | number, more: Json = {}, after?: number): Response {
  const headers: Record<string, string> = after === undefined ? {} : { "Retry-After": String(after) };
  return json({ error: { code, message: "no", ...more } }, status, headers);
}

/** A compute node's key, and what it does with it. */
export class FakeNode {
  private constructor(
    readonly wire: string,
    private readonly secret: CryptoKey,
  ) {}

  static async create(): Promise<FakeNode> {
    const algorithm = { name: "RSA-OAEP", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
    const pair = await crypto.subtle.generateKey(algorithm, true, ["encrypt", "decrypt"]);
    const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
    const pem = `-----BEGIN PUBLIC KEY-----\n${toBase64(spki)}\n-----END PUBLIC KEY-----\n`;
    return new FakeNode(toBase64(toUtf8(pem)), pair.privateKey);
  }

  async open(envelope: Json): Promise<Json> {
    const wrapped = fromBase64(String(envelope["cipherkey"]));
    const text = await crypto.subtle.decrypt({ name: "RSA-OAEP" }, this.secret, wrapped);
    const raw = fromBase64(fromUtf8(new Uint8Array(text)));
    const aes = await crypto.subtle.importKey("raw", raw, "AES-CBC", false, ["decrypt"]);
    const algorithm = { name: "AES-CBC", iv: fromBase64(String(envelope["iv"])) };
    const plain = await crypto.subtle.decrypt(algorithm, aes, fromBase64(String(envelope["ciphertext"])));
    return JSON.parse(fromUtf8(new Uint8Array(plain))) as Json;
  }
}

/** Seal as nodes do, with PKCS#1 v1.5, which takes but a few lines in this direction. */
export async function sealOld(inner: Json, client: string): Promise<Sealed> {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const iv = crypto.getRandomValues(new Uint8Array(16));
  const aes = await crypto.subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]);
  const body = await crypto.subtle.encrypt({ name: "AES-CBC", iv }, aes, toUtf8(JSON.stringify(inner)));
  const wrapped = await wrapOld(client, toBase64(key));
  return { ciphertext: toBase64(new Uint8Array(body)), cipherkey: toBase64(wrapped), iv: toBase64(iv) };
}

async function wrapOld(client: string, text: string): Promise<Bytes> {
  const pem = fromUtf8(fromBase64(client)).replace(/-----[^-]+-----|\s/g, "");
  const key = await crypto.subtle.importKey("spki", fromBase64(pem), { name: "RSA-OAEP", hash: "SHA-256" }, true, ["encrypt"]);
  const { n, e } = await crypto.subtle.exportKey("jwk", key);
  const [modulus, exponent] = [n!, e!].map((part) => bigOf(fromBase64(part.replace(/-/g, "+").replace(/_/g, "/"))));
  const filler = Array.from({ length: 256 - 3 - text.length }, () => 1 + Math.floor(Math.random() * 255));
  const padded = new Uint8Array([0, 2, ...filler, 0, ...toUtf8(text)]);
  return bytesOf(power(bigOf(padded), exponent!, modulus!));
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let rest = exponent, square = base; rest > 0n; rest >>= 1n, square = (square * square) % modulus) {
    if (rest & 1n) result = (result * square) % modulus;
  }
  return result;
}

function bigOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("")}`);
}

function bytesOf(value: bigint): Bytes {
  const hex = value.toString(16).padStart(512, "0");
  return new Uint8Array(hex.match(/../g)!.map((pair) => Number.parseInt(pair, 16)));
}

/** An outer envelope around an inner one, about the same request. */
export async function answering(work: Json, response: Json, changed: Json = {}): Promise<Json> {
  const [id, client] = [String(work["request_id"]), String(work["client_public_key"])];
  const inner = { ...header(id, client), ...response, ...changed };
  return { ...header(id, client), ...(await sealOld(inner, client)) };
}

