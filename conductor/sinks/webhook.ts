/** Points posted as JSON, signed as webhooks are. A batch that is sent again has the same `Boardwalk-Delivery`. */
import { createHash } from 'node:crypto';
import type { SecretsOf, WebhookSinkSettings } from '../../common/sinks/settings.ts';
import { signBody } from '../../common/webhooks/secrets.ts';
import { createKeptConnection } from '../webhooks/kept-connection.ts';
import { post } from '../webhooks/post.ts';
import { createBisected } from './bisect.ts';
import { toSendOutcome } from './http-outcome.ts';
import { type SinkPoint, type SinkTarget, splitStream, type TargetContext } from './sink-kind.ts';

export function createWebhookTarget(
  { url }: WebhookSinkSettings,
  { secret = '' }: SecretsOf['webhook'],
  { config, timeoutMs, sinkId }: TargetContext,
): SinkTarget {
  const connection = createKeptConnection();
  return {
    write: createBisected(async (some, signal) => {
      const body = JSON.stringify({ sink: sinkId, points: some.map(toJson) });
      const headers = {
        'content-type': 'application/json',
        'user-agent': 'Boardwalk-Sinks',
        'boardwalk-delivery': deliveryId(sinkId, some),
        'boardwalk-signature': signBody(secret, Math.floor(Date.now() / 1000), body),
      };
      const { allowPrivate } = config;
      return toSendOutcome(await post({ url, headers, body, allowPrivate, timeoutMs, signal, connection }));
    }),
    async close() {
      connection.close();
    },
  };
}

/** The same for the same points in the same order. */
export function deliveryId(sinkId: string, points: readonly SinkPoint[]): string {
  const hash = createHash('sha256').update(sinkId);
  for (const { id } of points) hash.update('\n').update(id);
  return hash.digest('hex').slice(0, 32);
}

/** As sinks of kind `file`, `mqtt` and `webhook` write a point. */
export function toJson(point: SinkPoint): Record<string, unknown> {
  const { id, board, boardName, stream, type, unit, at, value } = point;
  return { id, board, boardName, stream, ...splitStream(stream), type, unit, at, value };
}
