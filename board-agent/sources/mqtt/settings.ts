import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import type { IntakeSettings } from '../../intake/types.ts';
import { checkCommands } from '../commands/check.ts';
import { type CommandSettings, commandsSchema } from '../commands/settings.ts';
import { intakeProperties, sourceNameSchema } from '../shared-schemas.ts';
import { findFilterFault, isDoubled } from './topics.ts';

export interface MqttCommandSettings extends CommandSettings {
  request: { topic: string; qos: 0 | 1 };
}

export interface MqttSourceSettings extends IntakeSettings {
  kind: 'mqtt';
  /** Of one broker; the next is tried when one fails. */
  urls: string[];
  protocol: '5' | '3.1.1';
  username?: string;
  passwordFile?: string;
  caFile?: string;
  certFile?: string;
  keyFile?: string;
  clientId?: string;
  /** Left out: made of the rules' patterns. */
  topics?: string[];
  qos: 0 | 1;
  retained: 'once' | 'ignore';
  sessionExpirySeconds: number;
  maxInFlight: number;
  keepAliveSeconds: number;
  commands: MqttCommandSettings[];
}

const path = { type: 'string', minLength: 1, maxLength: 1000 };

export const schema = {
  title: 'Messages of an MQTT broker',
  type: 'object',
  required: ['kind', 'urls', 'rules'],
  additionalProperties: false,
  properties: {
    kind: { const: 'mqtt' },
    name: { ...sourceNameSchema, default: 'mqtt' },
    urls: {
      description: 'Of the broker, without credentials; the next is tried when one fails.',
      type: 'array',
      minItems: 1,
      maxItems: 10,
      items: { type: 'string', maxLength: 300, pattern: '^mqtts?://[^@/?#]+/?$' },
    },
    protocol: { description: 'Version of MQTT.', type: 'string', enum: ['5', '3.1.1'], default: '5' },
    username: {
      description: 'At the broker; with passwordFile.',
      type: 'string',
      minLength: 1,
      maxLength: 200,
    },
    passwordFile: { ...path, description: 'File (mode 600) that holds the password.' },
    caFile: {
      ...path,
      description: 'Certificates that the broker is trusted by; left out: the public ones.',
    },
    certFile: { ...path, description: 'Certificate that this board shows; with keyFile.' },
    keyFile: { ...path, description: 'Key (mode 600) of the certificate in certFile.' },
    clientId: {
      description: 'Left out: one of its own, kept in the state folder.',
      type: 'string',
      pattern: '^[A-Za-z0-9_.:-]{1,64}$',
    },
    topics: {
      description:
        "Topic filters that are subscribed to, shared ones as $share/<group>/<filter>; left out: those of the rules' patterns.",
      type: 'array',
      minItems: 1,
      maxItems: 200,
      items: { type: 'string', minLength: 1, maxLength: 300 },
    },
    qos: {
      description:
        '1: the broker keeps what this board has not acknowledged. 0: what comes while it is away is lost.',
      type: 'integer',
      enum: [0, 1],
      default: 1,
    },
    retained: {
      description:
        'Messages that the broker has kept for those who subscribe later: taken once, or not at all. Their time is that of their arrival, unless they carry one.',
      type: 'string',
      enum: ['once', 'ignore'],
      default: 'once',
    },
    sessionExpirySeconds: {
      description: 'How long the broker keeps messages while this board is away (MQTT 5).',
      type: 'integer',
      minimum: 0,
      maximum: 4_294_967_294,
      default: 604_800,
    },
    maxInFlight: {
      description: 'Messages that wait for the disk at a time. More cost memory, fewer cost time.',
      type: 'integer',
      minimum: 1,
      maximum: 4000,
      default: 128,
    },
    keepAliveSeconds: {
      description: 'A broker that is silent for longer than one and a half times this is gone.',
      type: 'integer',
      minimum: 1,
      maximum: 3600,
      default: 30,
    },
    ...intakeProperties,
    commands: {
      ...commandsSchema({
        description: 'Where the command is published; never retained.',
        type: 'object',
        required: ['topic'],
        additionalProperties: false,
        properties: {
          topic: {
            description: 'May hold {placeholders} of arguments, {module} and {correlation}.',
            type: 'string',
            minLength: 1,
            maxLength: 300,
          },
          qos: { description: 'Of the command.', type: 'integer', enum: [0, 1], default: 1 },
        },
      }),
      default: [],
    },
  },
};

/** What the schema cannot say. */
export function checkSettings(settings: MqttSourceSettings, pointer: string): SchemaFault[] {
  const { commands, protocol, certFile, keyFile, username, passwordFile } = settings;
  const faults = checkTopics(settings, pointer);
  if ((certFile === undefined) !== (keyFile === undefined))
    faults.push({ pointer: `${pointer}/certFile`, message: 'must be given together with keyFile' });
  if (passwordFile !== undefined && username === undefined)
    faults.push({ pointer: `${pointer}/username`, message: 'is required with passwordFile' });
  for (const [index, { answer }] of commands.entries())
    if (answer && answer.topic === undefined && protocol !== '5')
      faults.push({
        pointer: `${pointer}/commands/${index}/answer/topic`,
        message: 'is required: only MQTT 5 has response topics',
      });
  const targets = ({ request }: MqttCommandSettings) => ({ 'request/topic': request.topic });
  return [...faults, ...checkCommands(commands, `${pointer}/commands`, targets)];
}

function checkTopics({ topics = [], rules }: MqttSourceSettings, pointer: string): SchemaFault[] {
  const faults = topics.flatMap((topic, index) => {
    const message =
      findFilterFault(topic) ??
      (isDoubled(topic, topics.slice(0, index))
        ? 'takes messages that come by another one as well'
        : undefined);
    return message === undefined ? [] : [{ pointer: `${pointer}/topics/${index}`, message }];
  });
  const shared = rules.flatMap(({ match }, index) =>
    match.startsWith('$share/')
      ? [
          {
            pointer: `${pointer}/rules/${index}/match`,
            message: 'must be a topic: $share/… stands in topics',
          },
        ]
      : [],
  );
  return [...faults, ...shared];
}
