/**
 * Hears devices that speak CoAP (RFC 7252): posts go through the rules into the intake, and are
 * acknowledged when they are on disk. Beside them `.well-known/core` and `time`.
 */
import { createCommands } from '../commands/commands.ts';
import type { Source, SourceContext } from '../source.ts';
import type { CoapServer } from './server.ts';
import { addressesOf, type CoapSourceSettings } from './settings.ts';

export function createCoapSource(settings: CoapSourceSettings, context: SourceContext): Source {
  const { clock } = context;
  const logger = context.logger.child({ source: settings.name });
  const door = context.intake.open('coap', settings);
  const commands = createCommands(
    settings.commands,
    // The client is loaded with the first command.
    { send: async (request) => (await import('./device-requests.ts')).askDevice(request) },
    clock,
  );
  let server: CoapServer | undefined;

  return {
    ...commands,
    async start() {
      const { createCoapServer } = await import('./server.ts');
      const now = context.serverNow ?? clock.now;
      server = createCoapServer({ settings, addresses: addressesOf(settings), door, clock, logger, now });
      await server.start();
      if (settings.public && !settings.macRequired)
        logger.warn({}, 'other hosts can reach this, unencrypted, and messages need not be signed');
    },
    async stop() {
      await server?.stop();
    },
  };
}
