/** What this server offers, as `.well-known/core` lists it: itself, the time, and each rule of the source. */
import type { RuleSettings } from '../../intake/types.ts';
import { contentFormats, formatsOfDecoder } from './content-formats.ts';
import type { Resource } from './links.ts';

export const listPath = '.well-known/core';
export const timePath = 'time';

export function listResources(rules: readonly RuleSettings[]): Resource[] {
  return [
    {
      href: `/${listPath}`,
      title: 'What is here',
      rt: ['boardwalk.resources'],
      if: ['core.rp'],
      ct: [contentFormats.links],
    },
    {
      href: `/${timePath}`,
      title: 'Time in UTC',
      rt: ['boardwalk.time'],
      if: ['core.rp'],
      ct: [contentFormats.text, contentFormats.json],
      obs: true,
    },
    ...rules.map(({ match, decoder }) => ({
      href: hrefOf(match),
      title: /[{+#]/.test(match) ? `Readings, at any path like ${match}` : 'Readings',
      rt: ['boardwalk.readings', `boardwalk.readings.${decoder.split(':')[0]}`],
      if: ['boardwalk.post'],
      ct: formatsOfDecoder(decoder),
    })),
  ];
}

/** Names of captures stay readable in the title; a reference must be a URI. */
function hrefOf(match: string): string {
  const segments = match.replace(/^\//, '').split('/');
  return `/${segments.map((segment) => encodeURIComponent(segment)).join('/')}`;
}
