/**
 * What sources give to the intake, and what they get back. One way for every message, whatever
 * carried it: rule → decoder → module → mac → sequence → one commit → outcome. A transport
 * acknowledges after the outcome, never before.
 */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ReadingValue } from '../../common/wamp/readings.ts';
import type { MacKeyFiles } from './mac.ts';

/** Settings that every source which hears messages has beside its own. */
export interface IntakeSettings {
  /** In counts, dead letters and the API. */
  name: string;
  /** The first whose pattern fits is taken. */
  rules: RuleSettings[];
  /** Messages of one device per second, in the mean of ten seconds; more are refused. */
  maxPerSecond: number;
  /** Keys of devices that sign, by module. */
  macKeyFiles: MacKeyFiles;
  /** Whether devices without a key are heard. */
  macRequired: boolean;
}

export interface RuleSettings {
  /** Topic or path. `{name}` takes one segment or a part of it; a last `#` takes the rest. */
  match: string;
  decoder: string;
  /** Module, where neither the message nor a capture names one. */
  module?: string;
  /** Put before the names of the measurements. */
  prefix?: string;
  units?: Record<string, string>;
  /** Of the decoder. */
  options?: JsonObject;
}

export interface RawMessage {
  /** Topic or path, as the transport has it. */
  path: string;
  payload: Uint8Array;
  /** Media type, e.g. `application/senml+cbor`. */
  contentType?: string;
  /**
   * The same for each repetition of one transmission and for no other one within five minutes, e.g.
   * CoAP's peer and message id. Remembered on disk.
   */
  transmission?: string;
  /**
   * What the transport says of it (MQTT's DUP): false = it is no repetition, whatever looks the same;
   * true = it may be one of any age. Left out: look whether it came in the last five minutes.
   */
  repetition?: boolean;
  /** What the transport carries beside the payload: `device`, `seq`, `mac` (CoAP query, MQTT user properties). */
  fields?: Readonly<Record<string, string>>;
}

export const deadReasons = ['unmatched', 'undecodable', 'type-conflict', 'quarantined', 'rejected'] as const;
export type DeadReason = (typeof deadReasons)[number];
export type RefusalReason = 'bad-mac' | 'too-fast' | 'too-large';

/** stored, duplicate, held and dead are on disk, and are to be acknowledged. */
export type IntakeOutcome =
  | { status: 'stored'; readings: number }
  /** A transmission or a sequence number that is known. */
  | { status: 'duplicate' }
  /** Kept until somebody has decided about the device. */
  | { status: 'held' }
  | { status: 'dead'; reason: DeadReason; detail: string }
  /** Kept nowhere, counted. */
  | { status: 'refused'; reason: RefusalReason; detail: string; retryAfterSeconds?: number }
  /** The spool has no room or the disk fails: the sender must keep it and come again. */
  | { status: 'unavailable'; detail: string; retryAfterSeconds: number };

export interface Intake {
  /** Begins a source's counts; called when the source is created. Throws ConfigError for bad rules, keys and decoders. */
  open(kind: string, settings: IntakeSettings): IntakeDoor;
}

export interface IntakeDoor {
  /** Resolves when what became of the message is on disk. Never rejects. */
  take(message: RawMessage): Promise<IntakeOutcome>;
  /** Why the source hears nothing at the moment; undefined = it does. Shown in status and in the API. */
  setFault(fault: string | undefined): void;
}

export interface DecoderInput {
  path: string;
  payload: Uint8Array;
  contentType?: string;
  /** Of the rule's pattern. */
  captures: Readonly<Record<string, string>>;
  /** Epoch milliseconds; the time of readings that carry none. */
  receivedAt: number;
  options: JsonObject;
}

export interface DecodedReading {
  /** Where it differs from the message's device (SenML names). */
  module?: string;
  measurement: string;
  value: ReadingValue;
  unit?: string;
  /** Epoch milliseconds. */
  at?: number;
}

export interface Decoded {
  /** Id of the device, which becomes the module's name. */
  device?: string;
  /** Non-negative integer. */
  seq?: number;
  mac?: string;
  /** The bytes that the mac covers, after device and sequence number; default: the payload. */
  signed?: Uint8Array;
  readings: DecodedReading[];
}

/** Pure. Throws AppError `invalid-arguments` saying what is wrong with the bytes. */
export type Decoder = (input: DecoderInput) => Decoded;
