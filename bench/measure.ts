/** Statistics and load. Machines are noisy: rounds of the raw and the product's measurement alternate, medians count. */

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]) => quantile(values, 0.5);

/** Milliseconds that each of `count` calls took, one after the other. */
export async function timeSequential(
  count: number,
  call: (index: number) => Promise<unknown>,
): Promise<number[]> {
  const times: number[] = [];
  for (let done = 0; done < count; done += 1) {
    const startedAt = performance.now();
    await call(done);
    times.push(performance.now() - startedAt);
  }
  return times;
}

/** Calls per second with `width` of them under way all the time. */
export async function rateOf(
  count: number,
  width: number,
  call: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const startedAt = performance.now();
  const worker = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      await call(index);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return (count / (performance.now() - startedAt)) * 1000;
}

/** Runs both in turn, `rounds` times, the order changing, so that a slow moment of the machine hits both. */
export async function alternate<T>(
  rounds: number,
  raw: () => Promise<T>,
  product: () => Promise<T>,
): Promise<{ raw: T[]; product: T[] }> {
  const results: { raw: T[]; product: T[] } = { raw: [], product: [] };
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? (['raw', 'product'] as const) : (['product', 'raw'] as const);
    for (const which of order) results[which].push(await { raw, product }[which]());
  }
  return results;
}
