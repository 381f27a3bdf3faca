import { createRequire } from 'node:module';
import { asObject, asString } from '../common/runtime/guards.ts';

/** From package.json, which lies beside the sources and two folders above the built file. */
export const agentVersion = readVersion();

function readVersion(): string {
  const require = createRequire(import.meta.url);
  const candidates = ['./package.json', '../../package.json'];
  for (const candidate of candidates) {
    try {
      return asString(asObject(require(candidate), 'package').version, 'version', { max: 50 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return '0.0.0';
}
