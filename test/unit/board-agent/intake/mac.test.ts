import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { macOf, readMacKeys } from '../../../../board-agent/intake/mac.ts';
import { type Bench, createBench, message, settingsOf } from './support.ts';

const key = 'a key of sixteen bytes or more';
let dir: string;
let bench: Bench | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-mac-'));
  writeFileSync(join(dir, 'n1.key'), `${key}\n`, { mode: 0o600 });
});

afterEach(() => {
  bench?.close();
  bench = undefined;
  rmSync(dir, { recursive: true });
});

const keyFiles = () => ({ n1: join(dir, 'n1.key') });
const payload = JSON.stringify({ temp: 21.5 });

/** Device and number beside the payload, as CoAP carries them; the mac covers the payload. */
function signed(seq: number, mac?: string, device = 'n1') {
  const fields = { device, seq: String(seq), ...(mac !== undefined && { mac }) };
  return message(payload, { fields });
}

const rightMac = (seq: number, device = 'n1') =>
  macOf(Buffer.from(key), { device, seq, bytes: Buffer.from(payload) });

function openBench(settings: object = {}): Bench {
  bench = createBench(settingsOf({ macKeyFiles: keyFiles(), ...settings }), { ownerOf: () => 'field' });
  return bench;
}

describe('signed messages', () => {
  it('are made with openssl as the documentation says', () => {
    const text = Buffer.concat([Buffer.from('n1\n7\n'), Buffer.from(payload)]);
    const made = execFileSync('openssl', ['dgst', '-sha256', '-hmac', key, '-r'], { input: text }).toString();
    expect(made.split(' ')[0]).toBe(rightMac(7).toString('hex'));
  });

  it('are the only ones that speak for a device that signs', async () => {
    const { door, spool } = openBench({ rules: [{ match: 'r', decoder: 'senml+json' }] });
    const pack = [
      { bn: 'n2/', n: 'temp', v: 20 },
      { bn: 'n1/', n: 'temp', v: 99 },
    ];
    expect(await door.take(message(pack))).toMatchObject({
      status: 'refused',
      reason: 'bad-mac',
      detail: "'n1' signs its messages, and this one is of 'n2'",
    });
    expect(spool.peek(10)).toBeUndefined();
    expect(await door.take(message(pack.slice(0, 1)))).toMatchObject({ status: 'stored' });
  });

  it('are taken with the right mac, in hexadecimal or base64url', async () => {
    const { door } = openBench();
    expect(await door.take(signed(1, rightMac(1).toString('hex')))).toMatchObject({ status: 'stored' });
    expect(await door.take(signed(2, rightMac(2).toString('hex').toUpperCase()))).toMatchObject({
      status: 'stored',
    });
    expect(await door.take(signed(3, rightMac(3).toString('base64url')))).toMatchObject({ status: 'stored' });
  });

  it('are refused and counted with a wrong mac, of another number or device, cut, or none', async () => {
    const { door, intake } = openBench();
    await door.take(signed(1, rightMac(1).toString('hex')));
    const wrong = [
      signed(2, rightMac(3).toString('hex')),
      signed(2, rightMac(2, 'n2').toString('hex')),
      signed(2, rightMac(2).toString('hex').slice(2)),
      signed(2, ''),
      signed(2),
      message(payload, { fields: { device: 'n1', mac: rightMac(2).toString('hex') } }),
      { ...signed(2, rightMac(2).toString('hex')), payload: Buffer.from('{"temp":99}') },
    ];
    for (const each of wrong)
      expect(await door.take(each)).toMatchObject({ status: 'refused', reason: 'bad-mac' });
    expect(intake.modules()).toMatchObject([{ name: 'n1', received: 1, badMac: wrong.length, lastSeq: 1 }]);
    expect(intake.sources()).toMatchObject([{ received: 8, stored: 1, rejected: 7 }]);
  });

  it('cannot be sent again by somebody else, also not much later', async () => {
    const { door } = openBench();
    const old = signed(1, rightMac(1).toString('hex'));
    await door.take(old);
    expect(await door.take(old)).toEqual({ status: 'duplicate' });
    await door.take(signed(500, rightMac(500).toString('hex')));
    expect(await door.take(old)).toEqual({ status: 'duplicate' });
    // The same content under another path is still the same number.
    expect(await door.take({ ...old, path: 'r/n1' })).toEqual({ status: 'duplicate' });
  });

  it('are duplicates after a restart as before it, whichever of the last ones', async () => {
    const opened = openBench();
    for (const seq of [1, 2, 70]) await opened.door.take(signed(seq, rightMac(seq).toString('hex')));
    opened.restart();
    await opened.intake.start();
    for (const seq of [1, 2, 70])
      expect(await opened.door.take(signed(seq, rightMac(seq).toString('hex')))).toEqual({
        status: 'duplicate',
      });
    expect(opened.intake.modules()).toMatchObject([{ received: 3, duplicate: 3, restarted: 0 }]);
  });

  it('may have the old or the new key while the key is changed', async () => {
    const files = ['n1.key', 'new.key'].map((name) => join(dir, name));
    const newKey = 'another key of sixteen bytes or more';
    writeFileSync(join(dir, 'new.key'), newKey, { mode: 0o600 });
    const { door, intake } = openBench({ macKeyFiles: { n1: files } });
    const macWith = (secret: string, seq: number) =>
      macOf(Buffer.from(secret), { device: 'n1', seq, bytes: Buffer.from(payload) }).toString('hex');
    expect(await door.take(signed(1, macWith(key, 1)))).toMatchObject({ status: 'stored' });
    expect(await door.take(signed(2, macWith(newKey, 2)))).toMatchObject({ status: 'stored' });
    expect(await door.take(signed(3, macWith(`${key}!`, 3)))).toMatchObject({ reason: 'bad-mac' });
    const again = settingsOf({ name: 'other', macKeyFiles: { n1: files.toReversed() } });
    expect(() => intake.open('test', again)).not.toThrow();
    const half = settingsOf({ name: 'half', macKeyFiles: { n1: files.slice(1) } });
    expect(() => intake.open('test', half)).toThrow("'n1' has another key at another source");
  });

  it('cover the time of an envelope: nobody else says when it was measured', async () => {
    const { door, spool } = openBench();
    const bytes = Buffer.from('"2026-11-28T10:00:00Z"\n{"temp": 21.5}');
    const envelope = (seq: number, time: string, mac: string) =>
      message(`{"device":"n1","seq":${seq},"time":${time},"data":{"temp": 21.5},"mac":"${mac}"}`);
    const macFor = (seq: number) => macOf(Buffer.from(key), { device: 'n1', seq, bytes }).toString('hex');
    expect(await door.take(envelope(1, '"2026-11-28T11:00:00Z"', macFor(1)))).toMatchObject({
      status: 'refused',
      reason: 'bad-mac',
    });
    expect(await door.take(envelope(1, '"2026-11-28T10:00:00Z"', macFor(1)))).toMatchObject({
      status: 'stored',
    });
    expect(spool.peek(10)?.readings).toEqual([[0, Date.UTC(2026, 10, 28, 10), 21.5]]);
  });

  it('are needed of every device when the source says so', async () => {
    const { door } = openBench({ macRequired: true });
    expect(await door.take(signed(1, undefined, 'n2'))).toMatchObject({
      status: 'refused',
      reason: 'bad-mac',
    });
    expect(await door.take(signed(1, rightMac(1).toString('hex')))).toMatchObject({ status: 'stored' });
  });

  it('are not needed of a device without a key otherwise', async () => {
    const { door } = openBench();
    expect(await door.take(signed(1, undefined, 'n2'))).toMatchObject({ status: 'stored' });
  });

  it('cannot be avoided by way of another source', async () => {
    const { intake } = openBench();
    const other = intake.open('test', settingsOf({ name: 'other' }));
    expect(await other.take(signed(1))).not.toMatchObject({ status: 'stored' });
  });

  it('leave no device behind that only somebody without the key has named', async () => {
    bench = createBench(settingsOf({ macKeyFiles: keyFiles() }));
    await bench.door.take(signed(1, 'x'));
    expect(bench.intake.modules()).toEqual([]);
  });
});

describe('keys of devices', () => {
  it.each([
    [
      'others may read it',
      (path: string) => chmodSync(path, 0o640),
      /others may read it \(mode 640, wanted 600\)/,
    ],
    ['it is too short', (path: string) => writeFileSync(path, 'short'), /16 to 1024 bytes/],
    ['it is not there', (path: string) => rmSync(path), /ENOENT/],
  ])('are refused when %s', (_what, spoil, fault) => {
    spoil(join(dir, 'n1.key'));
    const faults: string[] = [];
    expect(readMacKeys(keyFiles(), faults).size).toBe(0);
    expect(faults.join()).toMatch(fault);
    expect(faults.join()).not.toContain('short');
    expect(() => openBench()).toThrow(fault);
  });

  it('are refused for what is no name of a module', () => {
    const faults: string[] = [];
    readMacKeys({ 'a/b': join(dir, 'n1.key') }, faults);
    expect(faults.join()).toMatch(/no name of a module/);
  });
});
