/** What the schema of commands cannot say: contracts that can be published, placeholders that exist. */
import { messageOf } from '../../../common/runtime/app-error.ts';
import { type ProcedureContract, parseContract } from '../../../common/wamp/contract.ts';
import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import { procedurePrefix } from '../procedure-prefix.ts';
import { argumentsOf, type CommandSettings } from './settings.ts';
import { ownPlaceholders, placeholdersIn } from './template.ts';

/** Throws AppError naming what cannot be published. */
export function contractOf(command: CommandSettings): ProcedureContract {
  const { module, name, description, kwargs, result, safety, onCrash } = command;
  return parseContract(
    {
      name: `${procedurePrefix(module)}.${name}`,
      ...(description !== undefined && { description }),
      kwargs: { type: 'object', additionalProperties: false, ...kwargs },
      ...(result && { result }),
      safety,
      ...(onCrash && { onCrash }),
    },
    'contract',
  );
}

/** `targets` are the topics and paths that the carrier makes of the request, by their place in the settings. */
export function checkCommands<C extends CommandSettings>(
  commands: readonly C[],
  pointer: string,
  targets: (command: C) => Record<string, string | undefined>,
): SchemaFault[] {
  const names = new Set<string>();
  return commands.flatMap((command, index) => {
    const at = `${pointer}/${index}`;
    const faults = [
      ...checkContract(command, at, names),
      ...checkPlaceholders(command, at, targets(command)),
    ];
    const { answer, status, payload } = command;
    if (!answer && !status)
      faults.push({
        pointer: at,
        message: 'must have answer or status: how is the device known to have done it?',
      });
    if (typeof payload === 'string' && /^\s*[[{]\s*"/.test(payload))
      faults.push({ pointer: `${at}/payload`, message: 'must be JSON itself, not a text that holds JSON' });
    return faults;
  });
}

function checkContract(command: CommandSettings, at: string, names: Set<string>): SchemaFault[] {
  try {
    const { name } = contractOf(command);
    if (names.has(name)) return [{ pointer: `${at}/name`, message: `'${name}' is there twice` }];
    names.add(name);
    return [];
  } catch (error) {
    return [{ pointer: at, message: messageOf(error) }];
  }
}

function checkPlaceholders(
  command: CommandSettings,
  at: string,
  targets: Record<string, string | undefined>,
): SchemaFault[] {
  const { payload, answer, status, error } = command;
  const known = new Set<string>([...argumentsOf(command), ...ownPlaceholders]);
  const places: Record<string, unknown> = { ...targets, payload, answer, status, error };
  const unknown = Object.entries(places).flatMap(([place, template]) =>
    placeholdersIn(template)
      .filter((name) => !known.has(name))
      .map((name) => ({ pointer: `${at}/${place}`, message: `'{${name}}' is no argument of the command` })),
  );
  const optional = Object.entries(places)
    .filter(([place, template]) => place !== 'payload' || typeof template === 'string')
    .flatMap(([place, template]) =>
      placeholdersIn(template)
        .filter((name) => isOptional(command, name))
        .map((name) => ({ pointer: `${at}/${place}`, message: `'{${name}}' must be a required argument` })),
    );
  const heard = { 'answer/topic': answer?.topic, 'status/topic': status?.topic, 'error/topic': error?.topic };
  const wild = Object.entries({ ...targets, ...heard })
    .filter(([, topic]) => topic !== undefined && /[+#\p{Cc}]/u.test(topic))
    .map(([place]) => ({
      pointer: `${at}/${place}`,
      message: 'must not contain +, # or control characters',
    }));
  const strange = Object.keys(command.values ?? {})
    .filter((name) => !known.has(name))
    .map((name) => ({ pointer: `${at}/values/${name}`, message: 'is no argument of the command' }));
  return [...unknown, ...optional, ...wild, ...strange];
}

function isOptional(command: CommandSettings, name: string): boolean {
  return (
    argumentsOf(command).includes(name) && !((command.kwargs?.required ?? []) as string[]).includes(name)
  );
}
