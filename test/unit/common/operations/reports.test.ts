import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseArtifactChunk } from '../../../../common/wamp/artifacts.ts';
import { parseOperationReport, parseProgress } from '../../../../common/wamp/operations.ts';
import { isStorable } from '../../../../common/wamp/storable.ts';

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
const report = { operationId: randomUUID(), attempt: 1, state: 'succeeded' };
const refused = (field: string) => expect.objectContaining({ code: 'invalid-arguments', details: { field } });

describe('what a board says of an operation', () => {
  it('is taken as deep as the database can hold it, and no deeper', () => {
    expect(parseOperationReport({ ...report, result: nested(28) }, 'report').result).toEqual(nested(28));
    expect(() => parseOperationReport({ ...report, result: nested(29) }, 'report')).toThrow(
      refused('report.result'),
    );
    expect(() => parseProgress({ data: nested(29) }, 'progress')).toThrow(refused('progress.data'));
    const error = { code: 'x', message: '', details: { a: nested(28) } };
    expect(() => parseOperationReport({ ...report, state: 'failed', error }, 'report')).toThrow(
      refused('report.error.details'),
    );
  });

  it('must be well-formed Unicode, keys included', () => {
    for (const result of ['\ud800', { '\ud800': 1 }, [['\ud800']]])
      expect(() => parseOperationReport({ ...report, result }, 'report')).toThrow(refused('report.result'));
    expect(isStorable({ ok: ['ä', '\u{1f600}'] }, 5)).toBe(true);
    expect(isStorable(['\udc00'], 5)).toBe(false);
  });
});

describe('a chunk of a file', () => {
  const artifact = { name: 'a', mediaType: 'text/plain', size: 1, sha256: 'f'.repeat(64) };
  const chunk = { operationId: randomUUID(), attempt: 1, artifact, offset: 0 };

  it('may name the offline schedule that its operation is of', () => {
    const schedule = { scheduleId: randomUUID(), dueAt: 5 };
    expect(parseArtifactChunk({ ...chunk, schedule })).toEqual({ ...chunk, schedule });
    expect(parseArtifactChunk(chunk)).toEqual(chunk);
  });

  it('is refused when it is larger than a chunk or no base64', () => {
    for (const data of ['A'.repeat(174_768), '*', 'AA=A'])
      expect(() => parseArtifactChunk({ ...chunk, data })).toThrow(refused('data'));
  });
});
