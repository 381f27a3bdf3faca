/** The kinds of sources: every folder here that has a `kind` file. */
import { existsSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { SourceKind } from './source-kind.ts';

/** TypeScript in a checkout, JavaScript when packed. */
const fileName = `kind${extname(import.meta.filename)}`;

const files = readdirSync(import.meta.dirname)
  .sort()
  .map((name) => join(import.meta.dirname, name, fileName))
  .filter((path) => existsSync(path));

const loaded = (await Promise.all(files.map((path) => import(pathToFileURL(path).href)))) as {
  sourceKind: SourceKind;
}[];

/** In order of their folders' names. */
export const sourceKinds: readonly SourceKind[] = loaded.map((each) => each.sourceKind);

export const kindOf = ({ schema }: SourceKind): string => schema.properties.kind.const;

export function findSourceKind(kind: unknown): SourceKind | undefined {
  return sourceKinds.find((each) => kindOf(each) === kind);
}
