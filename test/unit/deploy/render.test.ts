import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderCrossbarConfig, routerEnv } from '../../../deploy/crossbar/render.ts';

const settings = {
  realm: 's4t',
  agentSocket: '/run/boardwalk/agent.sock',
  agentTicket: 'a"b\\c',
  publicHost: '127.0.0.1',
  publicPort: 18_181,
};

// biome-ignore lint/suspicious/noExplicitAny: Crossbar's configuration has no types here
const render = (): any => JSON.parse(renderCrossbarConfig(settings)).workers[0];

describe("the router's configuration", () => {
  it('has every value in its place, whatever characters it holds', () => {
    const [agent, open] = render().transports;
    expect(agent.endpoint).toEqual({ type: 'unix', path: settings.agentSocket });
    expect(agent.auth.ticket.principals.agent).toEqual({ ticket: settings.agentTicket, role: 'agent' });
    expect(open.endpoint).toMatchObject({ type: 'tcp', interface: '127.0.0.1', port: 18_181 });
    expect(render().realms[0].name).toBe('s4t');
  });

  it('lets nobody in without a credential: who has none is only asked about, to be refused and audited', () => {
    for (const { auth } of render().transports) {
      expect(Object.keys(auth).length).toBeGreaterThan(0);
      const { anonymous } = auth;
      if (anonymous)
        expect(anonymous).toMatchObject({ type: 'dynamic', authenticator: 'boardwalk.auth.authenticate' });
    }
    expect(render().realms[0].roles.map((role: { name: string }) => role.name)).not.toContain('anonymous');
  });

  it('leaves boards and services to the authorizer, and enrolees one call', () => {
    const roles = Object.fromEntries(
      render().realms[0].roles.map((role: { name: string }) => [role.name, role]),
    );
    expect(Object.keys(roles).sort()).toEqual(['agent', 'board', 'enrolee', 'service']);
    expect(roles.board).toEqual({ name: 'board', authorizer: 'boardwalk.auth.authorize' });
    expect(roles.service).toEqual({ name: 'service', authorizer: 'boardwalk.auth.authorize' });
    expect(roles.enrolee.permissions).toHaveLength(1);
    expect(roles.enrolee.permissions[0]).toMatchObject({
      uri: 'boardwalk.agent.enrol',
      match: 'exact',
      allow: { call: true, register: false, publish: false, subscribe: false },
    });
  });

  it('takes JSON only, the one serializer that both sides of it read alike', () => {
    for (const { serializers } of render().transports) expect(serializers).toEqual(['json']);
  });

  it("has the router's environment in its systemd unit too", () => {
    const unit = join(import.meta.dirname, '../../../deploy/systemd/boardwalk-crossbar.service');
    const folder = routerEnv.PYTHONPATH.replace(/^.*\/(?=deploy\/)/, '/opt/boardwalk/');
    expect(readFileSync(unit, 'utf8')).toContain(`\nEnvironment=PYTHONPATH=${folder}\n`);
  });

  it('finds dead links within 15 s', () => {
    const { options } = render().transports[1];
    expect(options.auto_ping_interval + options.auto_ping_timeout).toBeLessThanOrEqual(15_000);
  });
});
