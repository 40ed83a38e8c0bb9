/** The part of node-forge that unwraps keys, as far as the page uses it. */

declare module "node-forge/lib/rsa.js" {}

declare module "node-forge/lib/forge.js" {
  export interface Big {
    bitLength(): number;
  }
  export interface PrivateKey {
    /** Bytes as a binary string; throws when the padding is wrong. */
    decrypt(wrapped: string, scheme: "RSAES-PKCS1-V1_5"): string;
  }
  const forge: {
    jsbn: { BigInteger: new (text: string, radix: number) => Big };
    pki: {
      rsa: {
        setPrivateKey(
          n: Big, e: Big, d: Big, p: Big, q: Big, dP: Big, dQ: Big, qInv: Big,
        ): PrivateKey;
      };
    };
  };
  export default forge;
}
