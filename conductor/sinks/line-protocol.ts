/**
 * InfluxDB's line protocol: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
 * and, the same for what is used here, the one of v2. Pure.
 */

export interface Line {
  measurement: string;
  /** Empty ones are left out: the protocol has no empty tag. */
  tags: readonly (readonly [key: string, value: string])[];
  field: string;
  value: number | boolean | string;
  /** Epoch milliseconds. */
  at: number;
}

/** A line break ends a point, and a backslash at the end would escape what follows: neither can be written. */
const clean = (text: string) =>
  text.replaceAll(/[\r\n]/g, ' ').replaceAll(/\\+$/g, (run) => '_'.repeat(run.length));
/** A `#` at the beginning makes the line a comment: it is answered with 204 and kept nowhere. */
const escapeMeasurement = (text: string) => clean(text).replace(/^#/, '_').replaceAll(/[, ]/g, '\\$&');
const escapeKey = (text: string) => clean(text).replaceAll(/[,= ]/g, '\\$&');
const escapeText = (text: string) => text.replaceAll(/[\\"]/g, '\\$&');

/** Numbers are floats always: a field's type never changes because a value happens to be whole. */
function formatValue(value: number | boolean | string): string {
  return typeof value === 'string' ? `"${escapeText(value)}"` : String(value);
}

export function formatLine({ measurement, tags, field, value, at }: Line): string {
  const pairs = tags
    .filter(([, text]) => text !== '')
    .map(([key, text]) => `,${escapeKey(key)}=${escapeKey(text)}`);
  return `${escapeMeasurement(measurement)}${pairs.join('')} ${escapeKey(field)}=${formatValue(value)} ${at}`;
}
