/** The options of `boardwalk-agent simulate`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { realmDefault } from '../../common/wamp/uris.ts';
import { say } from './say.ts';
import { parseDuration, type SimulateFlags } from './simulate.ts';

const collect = (value: string, before: string[] = []) => [...before, value];

function asNumber(text: string, { whole, min, max }: { whole?: true; min: number; max: number }): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max) || (whole && !Number.isInteger(value)))
    throw new InvalidArgumentError(`It must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}.`);
  return value;
}

function asDuration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

export function addSimulate(program: Command): void {
  program
    .command('simulate')
    .description(
      'Make load: boards, or devices behind a gateway, that send at a rate. Exit code 0 when as much is stored as was sent and acknowledged, else 1.',
    )
    .addOption(
      new Option('--over <protocol>', 'whole boards over wamp, or devices of a gateway over mqtt or coap')
        .choices(['wamp', 'mqtt', 'coap'])
        .makeOptionMandatory(),
    )
    .option(
      '--boards <n>',
      'how many boards or devices',
      (text) => asNumber(text, { whole: true, min: 1, max: 1000 }),
      10,
    )
    .option(
      '--rate <r>',
      'readings of each per second',
      (text) => asNumber(text, { min: 0.001, max: 1000 }),
      1,
    )
    .option('--for <time>', 'how long, e.g. 30s, 5m', asDuration, 10_000)
    .requiredOption('--api <url>', 'URL of the API')
    .requiredOption('--key-file <path>', 'file with an API key that may create boards or modules')
    .option('--tenant <tenant>', 'wamp: tenant of the boards, when the key is for several')
    .option('--url <url>', 'wamp: WebSocket URL of a router; may be repeated', collect)
    .option('--realm <realm>', 'wamp: the realm', realmDefault)
    .option('--keep', 'wamp: leave the boards on the server')
    .option('--board <board>', 'mqtt, coap: the gateway that hears the devices')
    .option('--prefix <name>', 'mqtt, coap: devices are <name>-1, <name>-2, …', 'sim')
    .option('--broker <url>', 'mqtt: URL of the broker')
    .option('--topic <topic>', 'mqtt: with {device} in it', 'sim/{device}')
    .option('--username <name>', 'mqtt: name at the broker')
    .option('--password-file <path>', 'mqtt: file with the password')
    .option('--target <url>', 'coap: coap://host[:port]/path')
    .option(
      '--patience <seconds>',
      'how long what is under way may take at the end',
      (text) => asNumber(text, { min: 1, max: 3600 }),
      60,
    )
    .option('--json', 'the totals as JSON')
    .action(async (flags: SimulateFlags) => {
      const { simulate } = await import('./simulate.ts');
      const good = await simulate(flags, {
        say,
        progress: (line) => void process.stderr.write(`${line}\n`),
      });
      process.exitCode = good ? 0 : 1;
    });
}
