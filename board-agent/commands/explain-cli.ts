/** The options of `boardwalk-agent explain`. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { AppError } from '../../common/runtime/app-error.ts';
import { say } from './say.ts';

const collect = (value: string, before: string[] = []) => [...before, value];

interface ExplainFlags {
  state: string;
  settings?: string;
  source?: string;
  topic: string;
  payload?: string;
  payloadFile?: string;
  payloadHex?: string;
  contentType?: string;
  field?: string[];
  json?: true;
}

export function addExplain(program: Command, state: readonly [string, string, string]): void {
  program
    .command('explain')
    .description(
      'Show what the rules make of a message. Exit code 0 when it has readings or could have, else 1.',
    )
    .requiredOption('--topic <topic>', 'topic or path of the message')
    .option('--payload <text>', 'the payload as text')
    .option('--payload-file <path>', "the payload from a file; '-' reads standard input")
    .option('--payload-hex <digits>', 'the payload in hexadecimal digits')
    .option('--content-type <type>', 'media type that the transport gives')
    .option('--field <name=value>', 'device, seq or mac beside the payload; may be repeated', collect)
    .option('--source <name>', 'only this source')
    .option(...state)
    .option('--settings <file>', 'settings file; default: settings.yaml or settings.json in the state folder')
    .option('--json', 'as JSON')
    .action(explainCommand);
}

async function explainCommand(flags: ExplainFlags): Promise<void> {
  const { explain, formatExplanation } = await import('./explain.ts');
  const { contentType, settings, source, topic } = flags;
  const explanation = await explain({
    stateDir: flags.state,
    ...(settings !== undefined && { settingsPath: settings }),
    ...(source !== undefined && { source }),
    receivedAt: Date.now(),
    message: {
      path: topic,
      payload: readPayload(flags),
      ...(contentType !== undefined && { contentType }),
      ...(flags.field && { fields: readFields(flags.field) }),
    },
  });
  say(flags.json ? JSON.stringify(explanation) : formatExplanation(explanation));
  process.exitCode = explanation.readings ? 0 : 1;
}

function readPayload({ payload, payloadFile, payloadHex }: ExplainFlags): Uint8Array {
  const given = [payload, payloadFile, payloadHex].filter((each) => each !== undefined);
  if (given.length !== 1)
    throw new AppError('invalid-arguments', 'give one of --payload, --payload-file and --payload-hex');
  if (payload !== undefined) return Buffer.from(payload);
  if (payloadFile !== undefined) return readFileSync(payloadFile === '-' ? 0 : payloadFile);
  const digits = (payloadHex ?? '').replaceAll(/[\s:]/g, '');
  if (!/^([0-9a-fA-F]{2})*$/.test(digits))
    throw new AppError('invalid-arguments', '--payload-hex must be pairs of hexadecimal digits');
  return Buffer.from(digits, 'hex');
}

function readFields(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((each) => {
      const [name = '', ...value] = each.split('=');
      if (!['device', 'seq', 'mac'].includes(name) || value.length === 0)
        throw new AppError('invalid-arguments', `--field must be device=…, seq=… or mac=…, not '${each}'`);
      return [name, value.join('=')];
    }),
  );
}
