/** The key pair of one conversation, and the public keys of compute nodes. */

import forge from "node-forge/lib/forge.js";
import type { Big } from "node-forge/lib/forge.js";
import "node-forge/lib/rsa.js";

import { fromBase64, fromBinary, fromUtf8, toBase64, toBinary, toHex, toUtf8 } from "./encoding";
import type { Bytes } from "./encoding";

const BITS = 2048;
const OAEP = { name: "RSA-OAEP", hash: "SHA-256" };
const PEM = /^-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----\s*$/;

export class BadKey extends Error {}

export interface ClientKeys {
  /** The public key as it travels: base64 of the whole PEM text. */
  readonly wire: string;
  /** Unwrap a message key that a compute node sealed; throws when it is not for this key. */
  unwrap(wrapped: Bytes): Bytes;
}

/** Make a key pair. It lives in this page's memory and nowhere else. */
export async function createKeys(): Promise<ClientKeys> {
  const made = { ...OAEP, modulusLength: BITS, publicExponent: new Uint8Array([1, 0, 1]) };
  const pair = await crypto.subtle.generateKey(made, true, ["encrypt", "decrypt"]);
  const spki = await crypto.subtle.exportKey("spki", pair.publicKey);
  const secret = await crypto.subtle.exportKey("jwk", pair.privateKey);
  return keysOf(toBase64(toUtf8(pemOf(new Uint8Array(spki)))), secret);
}

/** Compute nodes answer with PKCS#1 v1.5, which WebCrypto does not have. */
export function keysOf(wire: string, secret: JsonWebKey): ClientKeys {
  const { n, e, d, p, q, dp, dq, qi } = secret;
  const [bn, be, bd, bp, bq, bdp, bdq, bqi] = [n, e, d, p, q, dp, dq, qi].map(bigOf);
  const key = forge.pki.rsa.setPrivateKey(bn!, be!, bd!, bp!, bq!, bdp!, bdq!, bqi!);
  const unwrap = (wrapped: Bytes): Bytes =>
    fromBinary(key.decrypt(toBinary(wrapped), "RSAES-PKCS1-V1_5"));
  return { wire, unwrap };
}

/** Wrap a message key for a compute node; throws BadKey when its public key cannot be used. */
export async function wrapFor(node: string, message: Bytes): Promise<Bytes> {
  const key = await nodeKey(node);
  return new Uint8Array(await crypto.subtle.encrypt({ name: "RSA-OAEP" }, key, message));
}

/** SHA-256 of the key as it travels, in hex: the relay's logs show its first 12 digits. */
export async function fingerprint(wire: string): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", toUtf8(wire))));
}

async function nodeKey(wire: string): Promise<CryptoKey> {
  try {
    const pem = PEM.exec(fromUtf8(fromBase64(wire)));
    const spki = fromBase64((pem?.[1] ?? "").replace(/\s/g, ""));
    const key = await crypto.subtle.importKey("spki", spki, OAEP, false, ["encrypt"]);
    const { modulusLength } = key.algorithm as RsaHashedKeyAlgorithm;
    if (modulusLength >= BITS) return key;
  } catch {
    // Falls through: the failing step does not help the user.
  }
  throw new BadKey("the compute node's public key cannot be used");
}

function pemOf(spki: Bytes): string {
  const lines = toBase64(spki).match(/.{1,64}/g) ?? [];
  return `-----BEGIN PUBLIC KEY-----\n${lines.join("\n")}\n-----END PUBLIC KEY-----\n`;
}

function bigOf(part: string | undefined): Big {
  const bytes = fromBase64((part ?? "").replace(/-/g, "+").replace(/_/g, "/"));
  return new forge.jsbn.BigInteger(toHex(bytes), 16);
}
