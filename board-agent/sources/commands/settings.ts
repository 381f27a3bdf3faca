/**
 * Commands to devices, as settings declare them: each becomes a procedure `<module>.<name>` with a
 * published contract. What is sent and what is waited for is written with placeholders: `{channel}`
 * is an argument, `{module}` the module, `{correlation}` a text that is new for each call.
 */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import {
  type CrashRule,
  crashRules,
  type SafetyClass,
  type Schema,
  safetyClasses,
} from '../../../common/wamp/contract.ts';
import { moduleSchema } from '../shared-schemas.ts';

/** Fields of a JSON object (`a.b` = b of a) and what they must equal; texts may hold placeholders. */
export type Conditions = Record<string, string | number | boolean>;

export interface AnswerSettings {
  /** Where the answer is heard; left out: where the carrier has its own answers (MQTT 5 response topic, CoAP response). */
  topic?: string;
  /** Which messages are the answer; all of them when left out. */
  match?: Conditions;
  /** Field of the answer that is the result; left out: all of it. */
  result?: string;
  /** When the answer is a refusal. */
  refused?: Conditions;
  /** Field of a refusal that says why. */
  message?: string;
}

export interface StatusSettings {
  topic: string;
  /** Of a list: which item is looked at. */
  select?: Conditions;
  /** What it must show for the command to have been done. */
  when: Conditions;
  /** Field that is the result; left out: all of it. */
  result?: string;
}

export interface ErrorSettings {
  topic: string;
  match?: Conditions;
  message?: string;
}

export interface CommandSettings {
  module: string;
  name: string;
  description?: string;
  kwargs?: Schema;
  result?: Schema;
  safety: SafetyClass;
  onCrash?: CrashRule;
  timeoutMs: number;
  /** What stands for an argument's value in topics and payloads, e.g. `{"on": {"true": "on", "false": "off"}}`. */
  values?: Record<string, Record<string, string>>;
  /** Text, or JSON whose texts may be placeholders; left out: nothing. */
  payload?: unknown;
  answer?: AnswerSettings;
  status?: StatusSettings;
  error?: ErrorSettings;
}

const topic = {
  description: 'May hold {placeholders} of arguments, {module} and {correlation}.',
  type: 'string',
  minLength: 1,
  maxLength: 300,
};
const conditions = {
  description: 'Fields and what they must equal, e.g. {"number": "{channel}"}. 1 and 0 equal true and false.',
  type: 'object',
  maxProperties: 20,
  additionalProperties: { type: ['string', 'number', 'boolean'], maxLength: 200 },
};
const field = { type: 'string', minLength: 1, maxLength: 100 };
const resultField = {
  ...field,
  description: 'Field that is the result (a.b = b of a); left out: all of it.',
};
const messageField = { ...field, description: 'Field that says why it is refused; left out: all of it.' };

/** The list of commands of a source; `request` is what its carrier needs to send one. */
export function commandsSchema(request: Schema): Schema {
  return {
    description: 'Procedures of devices behind this board, called like any other.',
    type: 'array',
    maxItems: 100,
    items: {
      type: 'object',
      required: ['module', 'name', 'request'],
      additionalProperties: false,
      properties: {
        module: { ...moduleSchema, description: 'Module of the device; it is let in by being named here.' },
        name: {
          description: 'The procedure is called <module>.<name>.',
          type: 'string',
          minLength: 1,
          maxLength: 40,
          pattern: '^[a-z][a-z0-9_]*$',
        },
        description: { description: 'For those who call it.', type: 'string', maxLength: 1000 },
        kwargs: { description: 'JSON Schema of the arguments.', type: 'object' },
        result: { description: 'JSON Schema of the result.', type: 'object' },
        safety: {
          description:
            'idempotent: may be done twice. journaled: noted on disk before it begins. at-most-once: never tried again.',
          type: 'string',
          enum: [...safetyClasses],
          default: 'at-most-once',
        },
        onCrash: {
          description: 'Of a journaled command that the agent died in the middle of: what its outcome is.',
          type: 'string',
          enum: [...crashRules],
        },
        timeoutMs: {
          description: 'Until the device must have shown that it is done.',
          type: 'integer',
          minimum: 100,
          maximum: 60_000,
          default: 5000,
        },
        values: {
          description: 'Texts that stand for values of arguments in topics and payloads.',
          type: 'object',
          maxProperties: 50,
          additionalProperties: {
            type: 'object',
            maxProperties: 100,
            additionalProperties: { type: 'string', maxLength: 200 },
          },
        },
        payload: { description: 'Text, or JSON whose texts may be placeholders like "{volts}".' },
        request,
        answer: {
          description: 'The device answers each command.',
          type: 'object',
          additionalProperties: false,
          properties: {
            topic: {
              ...topic,
              description: `${topic.description} Left out: MQTT 5’s response topic, CoAP’s response.`,
            },
            match: {
              ...conditions,
              description: `Which messages are the answer; left out: all. ${conditions.description}`,
            },
            result: resultField,
            refused: { ...conditions, description: `When it is a refusal. ${conditions.description}` },
            message: messageField,
          },
        },
        status: {
          description: 'The device says by itself what state it is in.',
          type: 'object',
          required: ['topic', 'when'],
          additionalProperties: false,
          properties: {
            topic,
            select: { ...conditions, description: `Of a list: which item. ${conditions.description}` },
            when: { ...conditions, description: `What shows that it is done. ${conditions.description}` },
            result: resultField,
          },
        },
        error: {
          description: 'Where the device says what it refuses.',
          type: 'object',
          required: ['topic'],
          additionalProperties: false,
          properties: {
            topic,
            match: {
              ...conditions,
              description: `Which messages are meant; left out: all. ${conditions.description}`,
            },
            message: messageField,
          },
        },
      },
    },
  };
}

/** Names of the arguments that a command takes. */
export function argumentsOf({ kwargs }: Pick<CommandSettings, 'kwargs'>): string[] {
  return Object.keys((kwargs?.properties ?? {}) as JsonObject);
}
