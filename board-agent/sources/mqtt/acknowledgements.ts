/**
 * PUBACKs of one connection: sent in the order in which the messages came, each after its message is
 * on disk, many in one write. After the first message that could not be kept none is sent any more.
 */
export interface Acknowledgements {
  /** Takes a place in the row. */
  add(messageId: number): Place;
  /** Resolves when none waits, or none is sent any more. */
  drained(): Promise<void>;
  close(): void;
}

export interface Place {
  messageId: number;
  ready: boolean;
  done(): void;
}

const maxPerWrite = 1000;

/** `write` takes bytes for the broker. */
export function createAcknowledgements(write: (packets: Buffer) => void): Acknowledgements {
  const row: Place[] = [];
  let scheduled = false;
  let closed = false;
  const waiters: (() => void)[] = [];

  function wake(): void {
    for (const each of waiters.splice(0)) each();
  }

  function flush(): void {
    scheduled = false;
    while (!closed && row[0]?.ready) {
      let count = 0;
      while (count < maxPerWrite && row[count]?.ready) count += 1;
      write(encodeAll(row.splice(0, count)));
    }
    if (closed || row.length === 0) wake();
  }

  return {
    add(messageId) {
      const place: Place = {
        messageId,
        ready: false,
        done() {
          place.ready = true;
          if (scheduled || closed) return;
          scheduled = true;
          // What one transaction has made durable is acknowledged together.
          process.nextTick(flush);
        },
      };
      row.push(place);
      return place;
    },
    drained: () =>
      closed || row.length === 0 ? Promise.resolve() : new Promise((resolve) => void waiters.push(resolve)),
    close() {
      closed = true;
      wake();
    },
  };
}

/** PUBACK with success, which MQTT 5 and 3.1.1 write alike. */
function encodeAll(places: readonly Place[]): Buffer {
  const bytes = Buffer.allocUnsafe(places.length * 4);
  for (const [index, { messageId }] of places.entries()) {
    bytes.writeUInt16BE(0x4002, index * 4);
    bytes.writeUInt16BE(messageId, index * 4 + 2);
  }
  return bytes;
}
