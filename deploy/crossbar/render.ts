/**
 * Fills config.template.json. Crossbar knows no includes for secrets, so the rendered file holds the
 * agent's ticket: write it with mode 0600.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CrossbarSettings {
  realm: string;
  /** Unix socket that only the wamp-agent's account can reach. */
  agentSocket: string;
  agentTicket: string;
  /** Where boards and services come in. */
  publicHost: string;
  publicPort: number;
}

/** What the router's process needs in its environment, wherever it is started: see the file in that folder. */
export const routerEnv = { PYTHONPATH: join(import.meta.dirname, 'python') };

const template = join(import.meta.dirname, 'config.template.json');

/** The text of a Crossbar node's config.json. */
export function renderCrossbarConfig(settings: CrossbarSettings): string {
  const values: Record<string, string | number> = {
    '@REALM@': settings.realm,
    '@AGENT_SOCKET@': settings.agentSocket,
    '@AGENT_TICKET@': settings.agentTicket,
    '@PUBLIC_HOST@': settings.publicHost,
    '@PUBLIC_PORT@': settings.publicPort,
  };
  // Whole values only, on the parsed tree: no value can break out of its string.
  const rendered = JSON.stringify(
    JSON.parse(readFileSync(template, 'utf8'), (_key, value: unknown) =>
      typeof value === 'string' && value in values ? values[value] : value,
    ),
    null,
    2,
  );
  const left = /@[A-Z_]+@/.exec(rendered);
  if (left !== null) throw new Error(`config.template.json has an unknown placeholder ${left[0]}`);
  return `${rendered}\n`;
}
