import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startInfluxdb, type TestInfluxdb } from '../../harness/influxdb.ts';

describe("the tests' InfluxDB", () => {
  let open: TestInfluxdb;
  let closed: TestInfluxdb;

  beforeAll(async () => {
    [open, closed] = await Promise.all([
      startInfluxdb(),
      startInfluxdb({ admin: { username: 'admin', password: 'a word of admin' } }),
    ]);
  });
  afterAll(() => Promise.all([open?.stop(), closed?.stop()]));

  const write = (url: string, lines: string) =>
    fetch(`${url}/write?db=readings&precision=ms`, { method: 'POST', body: lines });

  it('keeps points over a restart on the same port', async () => {
    await open.createDatabase('readings');
    expect((await write(open.url, 'hv,channel=0 vmeas=99.5,on=1i 1700000000000')).status).toBe(204);
    await open.restart();
    expect(await open.query('SELECT * FROM hv', 'readings')).toEqual([
      { time: 1_700_000_000_000, channel: '0', vmeas: 99.5, on: 1 },
    ]);
    expect(await open.query('SELECT count(vmeas) FROM hv GROUP BY channel', 'readings')).toMatchObject([
      { channel: '0', count: 1 },
    ]);
  });

  it('refuses a field of another type, and says so', async () => {
    const answer = await write(open.url, 'hv,channel=0 vmeas="high" 1700000000001');
    expect(answer.status).toBe(400);
    expect(await answer.text()).toMatch(/field type conflict/);
  });

  it('throws with the words of the server', async () => {
    await expect(open.query('SELECT nonsense', 'readings')).rejects.toThrow(/error parsing query/);
  });

  it('asks for the login when it was started with one', async () => {
    await closed.createDatabase('readings');
    expect(await closed.query('SHOW DATABASES')).toContainEqual({ name: 'readings' });
    expect((await write(closed.url, 'hv vmeas=1')).status).toBe(401);
  });
});
