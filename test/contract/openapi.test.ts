/** The contract document: fresh types, one list of codes, and no request that takes what it does not know. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { operationIds } from '../../api/http/permissions.ts';
import { listOperations, loadOpenapiDocument } from '../../api/openapi-document.ts';
import { errorStatuses } from '../../common/runtime/app-error.ts';
import { repositoryRoot } from '../harness/tools.ts';

type Node = Record<string, unknown>;
const document = loadOpenapiDocument() as unknown as {
  components: { schemas: Record<string, Node> };
  paths: Node;
};
const operations = listOperations(loadOpenapiDocument());

function resolve(node: Node): Node {
  const name = typeof node.$ref === 'string' ? node.$ref.replace('#/components/schemas/', '') : undefined;
  return name === undefined ? node : resolve(document.components.schemas[name] ?? {});
}

/** Places below a request schema where unknown members would pass. */
function openObjects(node: Node, place: string): string[] {
  const schema = resolve(node);
  const below = [schema.allOf, schema.anyOf, schema.oneOf]
    .flatMap((each) => (each as Node[] | undefined) ?? [])
    .flatMap((each) => openObjects(each, place));
  const items = schema.items === undefined ? [] : openObjects(schema.items as Node, `${place}[]`);
  const members = Object.entries((schema.properties ?? {}) as Record<string, Node>).flatMap(
    ([name, member]) => openObjects(member, `${place}.${name}`),
  );
  const open = schema.type === 'object' && schema.additionalProperties !== false ? [place] : [];
  return [...open, ...below, ...items, ...members];
}

describe('the HTTP contract', () => {
  it('has generated types that are fresh', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'boardwalk-openapi-'));
    try {
      const fresh = join(dir, 'openapi.d.ts');
      await promisify(execFile)(
        process.execPath,
        [
          'node_modules/openapi-typescript/bin/cli.js',
          'api/openapi.yaml',
          '--default-non-nullable=false',
          '-o',
          fresh,
        ],
        { cwd: repositoryRoot },
      );
      expect(await readFile(fresh, 'utf8')).toBe(
        await readFile(join(repositoryRoot, 'api/openapi.d.ts'), 'utf8'),
      );
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('names exactly the error codes that the code knows', () => {
    const { enum: codes } = document.components.schemas.ErrorCode as { enum: string[] };
    expect([...codes].sort()).toEqual(Object.keys(errorStatuses).sort());
  });

  it('gives every operation one id, and every id a row in the table of permissions', () => {
    const ids = operations.map((each) => each.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual([...operationIds].sort());
  });

  it('says what every operation is for, and that it can fail', () => {
    const wrong = operations.filter(({ path, method }) => {
      const operation = (document.paths[path] as Record<string, Node>)[method] as Node;
      return typeof operation.summary !== 'string' || (operation.responses as Node).default === undefined;
    });
    expect(wrong.map((each) => each.operationId)).toEqual([]);
  });

  it('refuses unknown members in every request body, but where anything is meant to pass', () => {
    const bodies = operations.flatMap(({ path, method, operationId }) => {
      const operation = (document.paths[path] as Record<string, Node>)[method] as {
        requestBody?: { content: { 'application/json': { schema: Node } } };
      };
      const schema = operation.requestBody?.content['application/json'].schema;
      return schema ? openObjects(schema, operationId) : [];
    });
    expect([...new Set(bodies)].sort()).toEqual([
      'callProcedure.kwargs',
      'createAlarmRule.action.kwargs',
      'createBoard.extra',
      'createBoard.labels',
      'createOperation.kwargs',
      'createSchedule.operation.kwargs',
      // Checked by kind in common/sinks/settings.ts.
      'createSink.secrets',
      'createSink.settings',
      'planOperation.kwargs',
      'updateAlarmRule.action.kwargs',
      'updateBoard.extra',
      'updateBoard.labels',
      'updateSchedule.operation.kwargs',
      'updateSink.secrets',
      'updateSink.settings',
    ]);
  });

  it('bounds every text that a client may send', () => {
    const unbounded: string[] = [];
    const visit = (node: unknown, place: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const schema = node as Node;
      const bounded =
        schema.maxLength !== undefined || schema.enum !== undefined || schema.format === 'date-time';
      if (schema.type === 'string' && !bounded) unbounded.push(place);
      for (const [name, member] of Object.entries(schema)) {
        if (name === '$ref') visit(resolve(schema), `${place} → ${String(member)}`);
        else visit(member, `${place}/${name}`);
      }
    };
    for (const { path, method, operationId } of operations) {
      const operation = (document.paths[path] as Record<string, Node>)[method] as Node;
      visit(operation.requestBody, operationId);
      for (const parameter of (operation.parameters ?? []) as Node[]) visit(parameter.schema, operationId);
    }
    const { parameters } = document.components as unknown as { parameters: Record<string, { schema: Node }> };
    for (const [name, parameter] of Object.entries(parameters)) visit(parameter.schema, name);
    expect(unbounded).toEqual([]);
  });
});
