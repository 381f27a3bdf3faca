/**
 * `node bin/crossbar-config.ts FILE`: writes a Crossbar node's config.json (mode 0600) from the
 * environment, for installations where systemd runs the router. See docs/operations.md.
 */
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { createEnvReader } from '../common/runtime/config.ts';
import { realmDefault } from '../common/wamp/uris.ts';
import { renderCrossbarConfig } from '../deploy/crossbar/render.ts';

const file = process.argv[2];
if (file === undefined) {
  console.error('usage: crossbar-config.ts FILE');
  process.exit(64);
}
const reader = createEnvReader(process.env);
const settings = {
  realm: reader.string('BOARDWALK_REALM', realmDefault),
  agentSocket: reader.required('BOARDWALK_ROUTER_SOCKET'),
  agentTicket: reader.required('BOARDWALK_AGENT_TICKET'),
  publicHost: reader.string('BOARDWALK_WAMP_HOST', '127.0.0.1'),
  publicPort: reader.integer('BOARDWALK_WAMP_PORT', 8181, { min: 1, max: 65_535 }),
};
reader.finish();
const temporary = `${file}.new`;
writeFileSync(temporary, renderCrossbarConfig(settings), { mode: 0o600 });
// An older file of that name keeps its mode, so it is set again.
chmodSync(temporary, 0o600);
renameSync(temporary, file);
