/** How a procedure ended, in a form that the wire takes whatever the procedure gave or threw. */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import { type Progress, parseProgress, type ReportError } from '../../common/wamp/operations.ts';

const messageLength = 2000;

/** Text that fits: without control characters, well-formed, cut. */
function fitText(text: string, length: number): string {
  const clean = text.replaceAll(/[^\P{Cc}\n\r\t]/gu, ' ');
  return clean.slice(0, length).toWellFormed();
}

export function reportError(error: unknown): ReportError {
  const code = error instanceof AppError ? error.code : 'procedure-failed';
  const details = error instanceof AppError ? fitDetails(error.details) : undefined;
  return { code, message: fitText(messageOf(error), messageLength), ...(details && { details }) };
}

/** It had to be ended. `stillRunning`: it goes on, and may yet have its effect. */
export function overdueError(procedure: string, stillRunning: boolean): ReportError {
  return {
    code: 'deadline-exceeded',
    message: `'${procedure}' had not ended at the deadline`,
    ...(stillRunning && { details: { stillRunning } }),
  };
}

/** It was told to stop, and did: with whatever error it says so. */
export function cancelledError(error: ReportError | undefined): ReportError {
  return { code: 'cancelled', message: error?.message ?? 'cancelled on the board' };
}

function fitDetails(details: JsonObject): JsonObject | undefined {
  try {
    const text = JSON.stringify(details);
    const fits = text !== '{}' && Buffer.byteLength(text) <= operationLimits.progressBytes;
    return fits ? (JSON.parse(text) as JsonObject) : undefined;
  } catch {
    // Details that are no JSON are left out: the code and the message say what happened.
    return undefined;
  }
}

/** JSON text of a result; nothing counts as null. Throws AppError `procedure-failed` when it is none. */
export function resultText(result: unknown): string {
  try {
    return JSON.stringify(result ?? null) ?? 'null';
  } catch (error) {
    throw new AppError('procedure-failed', `its result is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

/** What a procedure says of its progress; undefined when it is not fit to be sent. */
export function toProgress(value: unknown): Progress | undefined {
  try {
    return parseProgress(value, 'progress');
  } catch {
    // Any other form is data.
    return wrapData(value);
  }
}

function wrapData(data: unknown): Progress | undefined {
  try {
    return data === undefined ? undefined : parseProgress({ data }, 'progress');
  } catch {
    // Too large or no JSON: progress is best effort.
    return undefined;
  }
}
