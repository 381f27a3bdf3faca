/** WAMP-cryptosign with Node's own Ed25519, so that no JavaScript cryptography is carried. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';

/** RFC 8410: the PKCS #8 wrapping of a 32-byte Ed25519 seed. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface KeyPair {
  /** Seed, lower-case hex, 64 characters. */
  privateKey: string;
  publicKey: string;
}

function privateKeyOf(seedHex: string) {
  return createPrivateKey({
    key: Buffer.concat([pkcs8Prefix, Buffer.from(seedHex, 'hex')]),
    format: 'der',
    type: 'pkcs8',
  });
}

export function generateKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(pkcs8Prefix.length);
  const privateHex = seed.toString('hex');
  return { privateKey: privateHex, publicKey: publicKeyOf(privateHex) };
}

export function publicKeyOf(seedHex: string): string {
  const der = createPublicKey(privateKeyOf(seedHex)).export({ format: 'der', type: 'spki' });
  return der.subarray(-32).toString('hex');
}

/** What AUTHENTICATE carries: signature and challenge, hex, in a row. Throws on a challenge that is not hex. */
export function signChallenge(seedHex: string, challenge: unknown): string {
  if (typeof challenge !== 'string' || !/^([0-9a-f]{2}){16,128}$/i.test(challenge))
    throw new TypeError('the router sent a challenge that is not hex');
  const signature = sign(null, Buffer.from(challenge, 'hex'), privateKeyOf(seedHex));
  return signature.toString('hex') + challenge;
}
