import { messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import { agentLimits } from '../../common/wamp/agent-procedures.ts';
import { parseStream } from '../../common/wamp/readings.ts';
import { findSourceKind } from './kinds.ts';
import type { Source, SourceContext } from './source.ts';
import type { SourceSettings } from './source-kind.ts';

/** One source per entry of the settings. Nothing runs yet. Throws ConfigError for what the server would refuse. */
export function createSources(settings: readonly SourceSettings[], context: SourceContext): Source[] {
  const sources = settings.map((each) => createSource(each, context));
  const faults: string[] = [];
  for (const { name, streams } of sources.flatMap((source) => source.modules)) {
    if (streams.length > agentLimits.streamsPerModule)
      faults.push(
        `module '${name}' has ${streams.length} streams, ${agentLimits.streamsPerModule} are allowed`,
      );
    for (const stream of streams) {
      try {
        parseStream(stream, `stream '${stream.name}'`);
      } catch (error) {
        faults.push(messageOf(error));
      }
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return sources;
}

function createSource(settings: SourceSettings, context: SourceContext): Source {
  const kind = findSourceKind(settings.kind);
  if (!kind) throw new ConfigError([`there is no source of kind '${settings.kind}'`]);
  return kind.create(settings, context);
}
