// A cable between a client and a server on this machine, which can be cut.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Carries connections. Once cut, bytes that are on their way stay where they are, as they do in a network. */
export class Cable {
  /** To this place. */
  static async to({ hostname, port }) {
    const cable = new Cable(Number(port), hostname);
    await once(cable.server.listen(0, "127.0.0.1"), "listening");
    cable.url = `http://127.0.0.1:${cable.server.address().port}`;
    return cable;
  }

  constructor(port, host) {
    this.pairs = new Set();
    this.isCut = false;
    this.server = createServer({ pauseOnConnect: true }, (near) => {
      const pair = [near, connect({ port, host })];
      this.pairs.add(pair);
      for (const [from, to] of [pair, [...pair].reverse()]) {
        from.on("data", (bytes) => to.write(bytes));
        from.on("error", () => {});
        from.on("close", () => {
          to.destroy();
          this.pairs.delete(pair);
        });
        if (this.isCut) {
          from.pause();
        }
      }
      if (!this.isCut) {
        near.resume();
      }
    });
  }

  /** From now on nothing arrives, and nobody is told. */
  cut() {
    this.isCut = true;
    for (const socket of [...this.pairs].flat()) {
      socket.pause();
    }
  }

  /** From now on things arrive, those that were on their way first, as TCP sends them again. */
  mend() {
    this.isCut = false;
    for (const socket of [...this.pairs].flat()) {
      socket.resume();
    }
  }

  close() {
    for (const socket of [...this.pairs].flat()) {
      socket.destroy();
    }
    this.server.close();
  }
}
