/** What becomes of one message: decided and written in the draft of a transaction. */
import type { ModuleState } from '../../common/wamp/modules.ts';
import type { ReadingType } from '../../common/wamp/readings.ts';
import type { DeadLetter } from './dead-letters.ts';
import type { Device } from './devices.ts';
import type { Draft } from './draft.ts';
import { isMacRight, type MacKeys } from './mac.ts';
import { findPlace, giveWay } from './places.ts';
import type { Prepared, PreparedMessage } from './prepare.ts';
import { quickHash } from './quick-hash.ts';
import { takeNumber } from './sequence.ts';
import type { DeadReason, IntakeOutcome, IntakeSettings, RawMessage } from './types.ts';

export interface Arrival {
  door: Pick<IntakeSettings, 'name' | 'maxPerSecond' | 'macRequired'>;
  message: RawMessage;
  /** The same each time; not asked when the transmission is known. */
  prepare: () => Prepared;
  receivedAt: number;
  transmission?: string;
  /** It is here already, and goes through once more. */
  letter?: DeadLetter;
}

export interface ApplyContext {
  keys: MacKeys;
  /** Name of the source that declares the module itself. */
  ownerOf: (module: string) => string | undefined;
}

/** Throws what SQLite throws. */
export function apply(draft: Draft, context: ApplyContext, arrival: Arrival): IntakeOutcome {
  const { transmission } = arrival;
  if (transmission !== undefined && draft.hasTransmission(transmission, arrival.message.repetition))
    return leave(draft, arrival, { status: 'duplicate' });
  const outcome = decide(draft, context, arrival);
  if (transmission !== undefined && outcome.status !== 'refused') draft.addTransmission(transmission);
  return outcome;
}

function decide(draft: Draft, context: ApplyContext, arrival: Arrival): IntakeOutcome {
  const { door, letter } = arrival;
  const prepared = arrival.prepare();
  if ('dead' in prepared) return bury(draft, arrival, prepared.dead, prepared.detail);

  const entry = admit(draft, context, arrival, prepared);
  if (entry.state === 'rejected') {
    const device = draft.editDevice(entry.module);
    if (device) device.refused += 1;
    return bury(draft, arrival, 'rejected', entry.detail, entry.module);
  }
  const known = draft.findDevice(prepared.device);
  const retryAfterSeconds = known && !letter ? draft.waitSeconds(known, door.maxPerSecond) : 0;
  if (retryAfterSeconds > 0) {
    const device = draft.editDevice(prepared.device);
    if (device) Object.assign(device, { refused: device.refused + 1, lastSeenAt: arrival.receivedAt });
    const detail = `more than ${door.maxPerSecond} messages a second`;
    return leave(draft, arrival, { status: 'refused', reason: 'too-fast', detail, retryAfterSeconds });
  }
  const macFault = findMacFault(context, arrival, prepared);
  if (macFault !== undefined) {
    const device = draft.editDevice(prepared.device);
    if (device) device.badMac += 1;
    return leave(draft, arrival, { status: 'refused', reason: 'bad-mac', detail: macFault });
  }
  const queued = letter ? undefined : prepared.modules.find((module) => draft.heldBy(module) > 0);
  if (entry.state === 'quarantined' || queued !== undefined) {
    const module = entry.state === 'quarantined' ? entry.module : queued;
    const devices = devicesOf(draft, context, arrival, prepared);
    for (const each of devices) noteSeen(each, arrival);
    if (devices[0] && !letter) draft.noteRate(devices[0]);
    const detail =
      queued === undefined ? `'${module}' waits for a decision` : `'${module}' has messages before it`;
    return bury(draft, arrival, 'quarantined', detail, module);
  }
  return store(draft, context, arrival, prepared);
}

interface Entry extends Verdict {
  /** That the state is of: of several modules the least welcome one. */
  module: string;
}

function admit(draft: Draft, context: ApplyContext, arrival: Arrival, { modules }: PreparedMessage): Entry {
  let before = 0;
  const entries = modules.map((module) => {
    const verdict = admitModule(draft, context, arrival, { module, before });
    if (!draft.findDevice(module) && context.ownerOf(module) === undefined) before += 1;
    return { module, ...verdict };
  });
  const worst =
    entries.find((each) => each.state === 'rejected') ?? entries.find((each) => each.state === 'quarantined');
  return worst ?? { state: 'accepted', module: modules[0] ?? '', detail: '' };
}

interface Verdict {
  state: ModuleState;
  detail: string;
  /** The device that gives its place to this one. */
  insteadOf?: string;
}

function admitModule(
  draft: Draft,
  { ownerOf }: ApplyContext,
  { door, receivedAt }: Arrival,
  /** `before`: newcomers of the same message ahead of it. */
  { module, before }: { module: string; before: number },
): Verdict {
  const owner = ownerOf(module);
  if (owner === door.name) return { state: 'accepted', detail: '' };
  if (owner !== undefined) return { state: 'rejected', detail: `'${module}' is a module of ${owner}` };
  const known = draft.decisions().states.get(module) ?? draft.findDevice(module)?.state;
  const state = known ?? stateOfUnknown(draft, before);
  if (state === 'rejected') return { state, detail: `'${module}' is not let in` };
  if (draft.findDevice(module)) return { state, detail: '' };
  const place = findPlace(draft, (name) => ownerOf(name) !== undefined, {
    state,
    at: receivedAt,
    before,
  });
  if (!place.isFree) return { state: 'rejected', detail: place.detail };
  return { state, detail: '', ...(place.insteadOf !== undefined && { insteadOf: place.insteadOf }) };
}

function stateOfUnknown(draft: Draft, before: number): ModuleState {
  const { unknownDevices, createPerMinute } = draft.decisions();
  if (unknownDevices === 'reject') return 'rejected';
  const mayCreate = unknownDevices === 'create' && draft.createdLately() + before < createPerMinute;
  return mayCreate ? 'accepted' : 'quarantined';
}

function findMacFault(
  context: ApplyContext,
  { door }: Arrival,
  message: PreparedMessage,
): string | undefined {
  const { device, seq, mac, signed, modules } = message;
  const key = context.keys.get(device);
  // Nobody speaks for a device that signs.
  const signer = modules.find((each) => each !== device && context.keys.has(each));
  if (signer !== undefined) return `'${signer}' signs its messages, and this one is of '${device}'`;
  if (!key) return door.macRequired ? `there is no key for '${device}'` : undefined;
  if (mac === undefined) return 'it has no mac';
  // Without a number an old message could be sent again for ever.
  if (seq === undefined) return 'it has no sequence number';
  return isMacRight(key, { device, seq, bytes: signed }, mac) ? undefined : 'its mac is wrong';
}

/** What had been held came before what is known already. */
function noteSeen(device: Device, { receivedAt }: Arrival): void {
  device.lastSeenAt = Math.max(device.lastSeenAt, receivedAt);
}

/** To change; those that were not known are made. */
function devicesOf(
  draft: Draft,
  context: ApplyContext,
  arrival: Arrival,
  { modules }: PreparedMessage,
): Device[] {
  const source = arrival.door.name;
  return modules.map((module) => {
    const known = draft.editDevice(module);
    if (known) return Object.assign(known, { source });
    const { state, insteadOf } = admitModule(draft, context, arrival, { module, before: 0 });
    if (insteadOf !== undefined) giveWay(draft, insteadOf);
    return draft.createDevice({ name: module, source, state, firstSeenAt: arrival.receivedAt });
  });
}

function store(
  draft: Draft,
  context: ApplyContext,
  arrival: Arrival,
  message: PreparedMessage,
): IntakeOutcome {
  const added = new Map<string, ReadingType>();
  for (const { stream } of message.readings) {
    const type = draft.typeOfStream(stream.name) ?? added.get(stream.name);
    if (type !== undefined && type !== stream.type)
      return bury(
        draft,
        arrival,
        'type-conflict',
        `'${stream.name}' is ${type} already, not ${stream.type}`,
        message.device,
      );
    if (type !== undefined) continue;
    const fault = draft.streamFault(stream.name, added.keys());
    if (fault !== undefined) return bury(draft, arrival, 'rejected', fault, message.device);
    added.set(stream.name, stream.type);
  }
  const [device, ...others] = devicesOf(draft, context, arrival, message);
  if (!device) throw new Error('a message has a device');
  draft.noteRate(device);
  noteSeen(device, arrival);
  if (!isNew(device, context, arrival, message)) return leave(draft, arrival, { status: 'duplicate' });
  for (const each of others) {
    each.received += 1;
    noteSeen(each, arrival);
  }
  for (const [name, type] of added) draft.addStream(name, type);
  for (const reading of message.readings) draft.tx.add(reading);
  return leave(draft, arrival, { status: 'stored', readings: message.readings.length });
}

function isNew(
  device: Device,
  { keys }: ApplyContext,
  { message, letter }: Arrival,
  { seq }: PreparedMessage,
): boolean {
  if (seq === undefined) {
    device.received += 1;
    return true;
  }
  const signed = keys.has(device.name);
  const replayed = letter !== undefined && letter.reason !== 'quarantined';
  return takeNumber(device.sequence, device, { seq, hash: hashOf(message), signed, replayed });
}

function hashOf({ path, payload }: RawMessage): [number, number] {
  const [first, second] = quickHash(path, payload);
  return [first, second || 1];
}

/** Into the dead letters, or back into them. */
function bury(
  draft: Draft,
  arrival: Arrival,
  reason: DeadReason,
  detail: string,
  module?: string,
): IntakeOutcome {
  const { message, receivedAt, door, letter } = arrival;
  const label = { reason, detail, ...(module !== undefined && { module }) };
  if (!letter) {
    draft.addLetter({ at: receivedAt, source: door.name, message, ...label });
  } else {
    if (letter.reason === 'quarantined' && reason !== 'quarantined')
      draft.countWaited(letter.source, 'rejected');
    if (letter.reason !== 'quarantined' && reason === 'quarantined') draft.countReceived(letter.source);
    draft.changeLetter(letter, label);
  }
  return reason === 'quarantined' ? { status: 'held' } : { status: 'dead', reason, detail };
}

type Left = Extract<IntakeOutcome, { status: 'stored' | 'duplicate' | 'refused' }>;

/** It is done with; a letter that could not go is kept. */
function leave(draft: Draft, arrival: Arrival, outcome: Left): IntakeOutcome {
  const { letter, door } = arrival;
  const flow = outcome.status === 'refused' ? 'rejected' : outcome.status;
  if (!letter) {
    draft.count(door.name, flow);
  } else if (outcome.status === 'refused') {
    return bury(draft, arrival, 'rejected', outcome.detail, letter.module);
  } else {
    if (letter.reason === 'quarantined') draft.countWaited(letter.source, flow);
    else draft.count(letter.source, flow);
    draft.removeLetter(letter, 'nothing');
  }
  return outcome;
}
